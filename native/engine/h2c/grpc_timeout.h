// any thread · the time that a call of gRPC has left, as its application reads it (grpc:doc/PROTOCOL-HTTP2.md, Timeout).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/http2/h2_session.h"

namespace orlop {

// A field `grpc-timeout` that says more than `left_ms`, 1 at least, says that instead; a call without the field gets it if `is_grpc`. What
// says less, or cannot be read, stays as it came. `own` is where the new value lies: it outlives the fields, and is empty. True: the
// application can read from the fields when its time is over.
bool ShortenGrpcTimeout(uint64_t left_ms, bool is_grpc, std::string* own, std::vector<H2Field>* fields);

}  // namespace orlop
