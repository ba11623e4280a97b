// 16 · data thread · the events of a request: what TypeScript judges, and how it ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/core/event_queue.h"
#include "engine/core/events.h"
#include "engine/core/slots.h"
#include "engine/http/http1_head.h"

namespace orlop {

// The connection that events name.
struct RequestsOf {
  SlotRef ref;
  uint32_t pod_idx = 0;
};

// A request's parts that rules read, behind each other: method, path with query, host, fields. A field is two lengths of 16 bits in
// the order of this machine, its name in small letters, and its value. Fields that the application does not get are left out.
// agent/engine/request-fields.ts reads it.
struct RequestTexts {
  size_t ends[4];  // of each part
};

// Room that is enough for the texts of this head.
size_t RequestTextsRoom(const Http1Head& head);
// Writes them to `to`. `bytes` are those that `head` was read from.
RequestTexts WriteRequestTexts(const uint8_t* bytes, const Http1Head& head, char* to);

struct RequestEnd {
  RequestOutcome outcome;
  int32_t why;  // a number of Http1Refusal; of kNotReached a CloseCause; of kAnswered microseconds (arena.h)
  int status;
  uint64_t sent_payload, received_payload, duration_us;
  std::string_view message = {};
  std::string_view grpc_status = {};  // of a call of gRPC: its number, or "-1" where it has none
};

// A try of a request that went on.
struct TryEnd {
  TryFailure failure;
  int status;   // of kStatus; of kNotReached what the cause has as detail
  int32_t why;  // of kNotReached a CloseCause
  bool sent;    // the origin may have got some of it
  uint64_t duration_us;
};

void EmitRequest(EventQueue& events, const RequestsOf& of, int32_t number, const uint8_t* bytes,
                 const Http1Head& head, HttpProtocol protocol = HttpProtocol::kHttp1);
void EmitRequestEnded(EventQueue& events, const RequestsOf& of, int32_t number, const RequestEnd& end);
// With the request's texts, as EmitRequest has them.
void EmitTryFailed(EventQueue& events, const RequestsOf& of, int32_t number, const uint8_t* bytes,
                   const Http1Head& head, const TryEnd& end);
// What follows on the connection is not read.
void EmitOpaque(EventQueue& events, const RequestsOf& of);

}  // namespace orlop
