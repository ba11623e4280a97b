// 14 · data thread · a head of HTTP/1 as it goes on: every field as it came, but for what belongs to the connection it came on.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/byte_queue.h"
#include "engine/http/http1_head.h"

namespace orlop {

// Whether the application gets the field. What it does not get no rule may have read either.
bool GoesOn(const Http1Head& head, const Http1Field& field);

// Taken out: fields that Connection names and Connection itself, which are written anew (RFC 9110 section 7.6.1); Upgrade, unless it asks
// for websocket; HTTP2-Settings; and x-orlop-*, which only Orlop may write. `bytes` are those that `head` was read from.
// An absolute target goes on as its path, with its authority as Host (RFC 9112 section 3.2.2).
// `target`, unless it is empty, goes in the place of the request's own.
void CopyHead(const uint8_t* bytes, const Http1Head& head, std::string_view target, ByteQueue* out);

}  // namespace orlop
