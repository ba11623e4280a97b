// 16 · data thread · what an answer does to the fields of a head: TypeScript's bytes as pairs to write.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "engine/http/http1_write.h"

namespace orlop {

// Of an answer's area (core/arena.h). Its pairs lie in the bytes that they were read from. agent/engine/head-edits.ts writes them.
class HeadEdits {
 public:
  // False: they are not whole, or none that can be written. Then there are none.
  bool Read(std::string_view bytes);
  // Only those of a response's edits by which a page of another origin may read it. An answer that we give in its place needs them, too.
  bool ReadSharing(std::string_view bytes);
  // Behind those that were read.
  void Add(const Http1Pair& pair) { pairs_.push_back(pair); }

  const Http1Pair* pairs() const { return pairs_.data(); }
  size_t count() const { return pairs_.size(); }

 private:
  std::vector<Http1Pair> pairs_;
};

}  // namespace orlop
