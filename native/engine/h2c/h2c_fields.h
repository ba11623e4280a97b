// data thread · the fields of a head or of trailers of HTTP/2, as they came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/http/http1_head.h"
#include "engine/http2/h2_session.h"

namespace orlop {

class H2cFields {
 public:
  // Beyond the limits of a head of HTTP/1 nothing more is kept.
  void Add(std::string_view name, std::string_view value);
  // Also its memory.
  void Clear();

  bool too_large() const { return too_large_; }
  bool too_many() const { return count() > kHttp1Fields + kPseudo; }
  size_t count() const { return ends_.size() / 2; }
  H2Field At(size_t index) const;
  // The first value; empty: there is none.
  std::string_view Find(std::string_view name) const;

 private:
  // RFC 9113 8.3.1 knows four of them.
  static constexpr size_t kPseudo = 4;
  std::string text_;
  std::vector<uint32_t> ends_;  // of a name, of its value, of the next name
  bool too_large_ = false;
};

}  // namespace orlop
