// 22 · data thread · copies of a request, kept while it passes, and sent once it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/http/mirrored_request.h"

namespace orlop {

class Answer;

// The request does not wait for any of it: what is too much is dropped, and reported.
class MirrorCopies {
 public:
  MirrorCopies(const EngineServices& services, MirrorRoom& room, uint32_t pod_idx);
  ~MirrorCopies() { Drop(MirrorEnd::kIncomplete); }

  // `mirror`, before the request goes on.
  void Ask(const Answer& answer);
  // The request goes on, and all of its payload comes behind this.
  void Begin(const Http1KeptHead& head, HttpProtocol protocol, bool is_https);
  void Add(const uint8_t* bytes, size_t length);
  // All of it has come.
  void Whole();
  // What was not sent is not sent.
  void Drop(MirrorEnd why);

 private:
  bool Hold(size_t bytes);

  const EngineServices& services_;
  MirrorRoom& room_;
  const uint32_t pod_idx_;
  std::vector<MirrorTarget> targets_;
  std::shared_ptr<MirroredRequest> request_;  // null: it has not begun, or nothing of it is kept
  Timer deadline_;
};

}  // namespace orlop
