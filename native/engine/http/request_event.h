// 6 · data thread · a request's head as the text of its event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/http/http1_head.h"

namespace orlop {

// Method, path with query, host and fields behind each other; `ends` says where the first three end. A field is two lengths of 16 bits in the
// order of this machine, its name in small letters and its value. Fields that the application does not get are left out. agent/engine/request-fields.ts reads it.
std::string RequestTexts(const uint8_t* bytes, const Http1Head& head, size_t ends[3]);

// Methods are compared as they are (RFC 9110 section 9.1).
bool SameMethod(const std::string& head, Http1Span method, std::string_view wanted);

}  // namespace orlop
