// 6 · data thread · an answer of TypeScript, read out of the arena with checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/core/arena.h"
#include "engine/core/endpoint.h"
#include "engine/core/events.h"
#include "engine/core/slots.h"

namespace orlop {

class Answer {
 public:
  // A copy of the record at `record`; its text lies in the `text_size` bytes at `text` and is valid until TypeScript runs.
  Answer(const uint8_t* record, const uint8_t* text, size_t text_size);

  // A number of enum orlop_answer_type, or a number that this engine does not know.
  uint32_t type() const { return record_.type; }
  SlotRef ref() const { return {record_.conn, record_.generation}; }
  uint32_t pod_idx() const { return record_.pod_idx; }
  int32_t identity() const { return record_.identity; }
  int32_t expect() const { return record_.expect; }
  int32_t status() const { return record_.status; }
  // A number that this engine does not know reads like the strictest.
  HttpReading reading() const;
  // Of `forward`: x-envoy-* and x-forwarded-client-cert are taken out of the request.
  bool without_proxy_headers() const { return (record_.requests & ORLOP_FORWARD_WITHOUT_PROXY_HEADERS) != 0; }
  // The same: TypeScript is asked about a try that fails.
  bool asks_unsent() const { return (record_.requests & ORLOP_FORWARD_ASKS_UNSENT) != 0; }
  bool asks_any() const { return (record_.requests & ORLOP_FORWARD_ASKS_ANY) != 0; }
  // Of `hold`, in milliseconds.
  uint32_t hold_ms() const { return record_.status > 0 ? static_cast<uint32_t>(record_.status) : 0; }
  // Of `define-origin`. A number that this engine does not know reads like `relay`.
  OriginWay way() const;
  // Of `define-origin`: all 0 where it says nothing.
  orlop_origin_pool pool() const;
  // Of `forward`: the number of an origin; 0: the connection's own.
  uint32_t origin() const { return record_.pod_idx; }
  // Of `forward`, in milliseconds: for the whole request, and for a try of it. 0: no such deadline.
  uint32_t request_ms() const { return record_.status > 0 ? static_cast<uint32_t>(record_.status) : 0; }
  uint32_t try_ms() const { return record_.identity > 0 ? static_cast<uint32_t>(record_.identity) : 0; }
  // Of `tunnel` and `dial`: when the far end cannot be reached the connection waits for another answer.
  bool reports_not_reached() const { return (record_.requests & ORLOP_REPORTS_NOT_REACHED) != 0; }
  Endpoint to() const { return {record_.to.addr, record_.to.port}; }
  // False: there is none.
  bool From(Endpoint* out) const;
  // Empty when it does not lie inside the area, and when it has bytes that no header may hold.
  std::string_view Text(int index) const;
  // The same, whatever its bytes.
  std::string_view Bytes(int index) const;

 private:
  orlop_engine_answer record_;
  const uint8_t* text_;
  size_t text_size_;
};

}  // namespace orlop
