// any thread · the time that a call of gRPC has left, as its application reads it (grpc:doc/PROTOCOL-HTTP2.md, Timeout).
#include "engine/h2c/grpc_timeout.h"

#include <string_view>

namespace orlop {
namespace {

constexpr size_t kMostDigits = 8;
constexpr uint64_t kMost = 99'999'999;

// Whole milliseconds. False: nothing that can be read.
bool Read(std::string_view text, uint64_t* ms) {
  if (text.size() < 2 || text.size() > kMostDigits + 1) return false;
  uint64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  switch (text.back()) {
    case 'H':
      return *ms = value * 3'600'000, true;
    case 'M':
      return *ms = value * 60'000, true;
    case 'S':
      return *ms = value * 1'000, true;
    case 'm':
      return *ms = value, true;
    case 'u':
      return *ms = value / 1'000, true;
    case 'n':
      return *ms = value / 1'000'000, true;
    default:
      return false;
  }
}

}  // namespace

bool ShortenGrpcTimeout(uint64_t left_ms, bool is_grpc, std::string* own, std::vector<H2Field>* fields) {
  *own = left_ms <= kMost ? std::to_string(left_ms) + "m" : std::to_string(left_ms / 1'000) + "S";
  bool found = false;
  bool read = false;
  for (H2Field& field : *fields) {
    if (field.name != "grpc-timeout") continue;
    found = true;
    uint64_t said = 0;
    if (!Read(field.value, &said)) continue;
    read = true;
    if (said > left_ms) field.value = *own;
  }
  if (found || !is_grpc || fields->size() >= H2Session::kMostFields) return read;
  fields->push_back({"grpc-timeout", *own});
  return true;
}

}  // namespace orlop
