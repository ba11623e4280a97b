// any thread · words of gRPC for an answer of ours.
#include "engine/h2c/grpc_refusal.h"

namespace orlop {

bool IsGrpc(std::string_view content_type) {
  constexpr std::string_view kType = "application/grpc";
  if (content_type.size() < kType.size()) return false;
  for (size_t i = 0; i < kType.size(); i++) {
    const char c = content_type[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != kType[i]) return false;
  }
  if (content_type.size() == kType.size()) return true;
  const char next = content_type[kType.size()];
  return next == '+' || next == ';' || next == ' ';
}

int GrpcStatusOf(int http_status) {
  switch (http_status) {
    case 400:
    case 431:
      return 13;  // INTERNAL
    case 401:
      return 16;  // UNAUTHENTICATED
    case 403:
      return 7;  // PERMISSION_DENIED
    case 404:
    case 501:
      return 12;  // UNIMPLEMENTED
    case 429:
      // Of a limit of ours. Clients try again after UNAVAILABLE, which would add to what is too much already.
      return 8;  // RESOURCE_EXHAUSTED
    case 504:
      // Of a deadline that its route gives it.
      return 4;  // DEADLINE_EXCEEDED
    case 502:
    case 503:
      return 14;  // UNAVAILABLE
    default:
      return 2;  // UNKNOWN
  }
}

int GrpcStatusIn(std::string_view text) {
  constexpr int kUnknown = 2, kMost = 16;
  if (text.empty() || text.size() > 2) return kUnknown;
  int status = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return kUnknown;
    status = status * 10 + (c - '0');
  }
  return status > kMost ? kUnknown : status;
}

std::string GrpcMessageOf(std::string_view text) {
  std::string message;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
      message.push_back(c);
      continue;
    }
    constexpr char kDigits[] = "0123456789ABCDEF";
    message.push_back('%');
    message.push_back(kDigits[byte >> 4]);
    message.push_back(kDigits[byte & 15]);
  }
  return message;
}

}  // namespace orlop
