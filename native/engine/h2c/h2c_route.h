// 22 · data thread · where an open request of a served connection of HTTP/2 went, and what its answer asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/answer.h"
#include "engine/core/timer.h"
#include "engine/h2c/h2c_fields.h"
#include "engine/http/head_edits.h"
#include "engine/http/http1_failed_try.h"
#include "engine/http/mirror_copies.h"
#include "engine/http/origin_source.h"

namespace orlop {

// A try that has failed, while TypeScript is asked what then.
struct H2cFailedTry {
  TryFailure what;
  bool sent;                      // the origin may have got some of the request
  AnswerInPlace answer;           // if nothing else is tried, and there is no response
  uint32_t code = 0;              // a reset in the place of that answer; 0: the answer
  std::vector<H2Field> response;  // that is held, of kStatus; its fields lie in `text`
  std::string text;
  bool ends = false;  // with its head
  bool gone = false;  // the stream with the rest of it
};

// Texts are the answer's: a request may wait for its stream.
struct H2cRoute {
  H2cRoute(OriginSource& from, Timer::Fire on_deadline, Timer::Fire on_queued, Timer::Fire on_pause,
           void* self)
      : origins(from), deadline(on_deadline, self), queued(on_queued, self), pause(on_pause, self) {}

  // False: what is to be changed cannot be written.
  bool Take(const Answer& answer) {
    HeadEdits edits;
    request_edits = answer.Bytes(2);
    response_edits = answer.Bytes(3);
    if (!edits.Read(request_edits) || !edits.Read(response_edits)) return false;
    target = answer.Text(0);
    authority = answer.Text(1);
    without_proxy_headers = answer.without_proxy_headers();
    origin = answer.origin();
    try_ms = answer.try_ms();
    asks_any = answer.asks_any();
    asks_unsent = answer.asks_unsent();
    return true;
  }
  void CancelTimers() {
    deadline.Cancel();
    queued.Cancel();
    pause.Cancel();
  }
  // Bytes of the heap.
  size_t held() const {
    const auto heap = [](const std::string& text) {
      return text.capacity() > std::string().capacity() ? text.capacity() : 0;
    };
    return heap(request_edits) + heap(response_edits) + (failed ? heap(failed->text) : 0);
  }

  OriginSource& origins;
  uint32_t origin = 0;
  std::string target, authority, request_edits, response_edits;
  bool without_proxy_headers = false;
  // Whether TypeScript is asked about a try that fails.
  bool asks_unsent = false, asks_any = false;
  bool tried = false;                    // for this request
  bool sent = false;                     // by this try
  std::unique_ptr<H2cFailedTry> failed;  // null: the request is tried, or is over
  uint64_t try_began_us = 0;
  uint32_t answered_us = 0;  // from there to the response's head
  uint64_t try_ms = 0;
  uint64_t request_due_ms = 0;  // 0: never
  uint64_t due_ms = 0;          // of this try, with that
  bool sent_due = false;        // the origin has it, as grpc-timeout
  Timer deadline;
  Timer queued;                          // while it waits for its stream
  Timer pause;                           // before another try
  std::unique_ptr<MirrorCopies> copies;  // null: none were asked for
};

}  // namespace orlop
