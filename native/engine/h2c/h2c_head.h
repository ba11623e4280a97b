// 17 · any thread · a request of HTTP/2 as the head of HTTP/1 that says the same, so that rules, refusals and edits are the same for both;
// and back again for the application. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/h2c/h2c_fields.h"
#include "engine/http/http1_head.h"
#include "engine/http/http1_write.h"

namespace orlop {

// `ends`: no body follows. `text` gets the head, and `head` its parts. Several fields Cookie become a single one (RFC 9113 8.2.3). With a
// refusal both hold nothing.
Http1Refusal ReadH2cRequest(const H2cFields& fields, bool ends, std::string* text, Http1Head* head);

// What of trailers keeps them from going on: kNone, or the refusal.
Http1Refusal CheckH2cTrailers(const H2cFields& fields);

// A block that is sent. Its fields lie in what they were made from, and in `own`.
struct H2cBlock {
  std::vector<H2Field> fields;
  std::string own;
};

// A request as the application gets it. `bytes` are those that `head` was read from, `scheme` is the caller's. False: the edit is none that
// can be written (http1_write.h).
bool WriteH2cRequest(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit,
                     std::string_view scheme, H2cBlock* block);

}  // namespace orlop
