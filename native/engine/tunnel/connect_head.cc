// 11 · data thread · what a peer may ask: CONNECT with an authority and nothing else.
#include "engine/tunnel/connect_head.h"

namespace orlop {
namespace {

constexpr size_t kTelemetryBytes = 4096;
constexpr size_t kAuthorityBytes = 300;

// Repeated fields are a list.
void AppendMerged(std::string& to, std::string_view value) {
  if (!to.empty()) to += ',';
  to += value;
}

}  // namespace

void ConnectHead::SetOfRequest(std::string_view name, std::string_view value) {
  if (name == "baggage") {
    AppendMerged(baggage, value);
  } else if (name == ":method") {
    method = value;
  } else if (name == ":authority") {
    authority = value;
  } else if (name == ":scheme" || name == ":path" || name == ":protocol") {
    forbidden = true;
  } else if (name == "forwarded") {
    AppendMerged(forwarded, value);
  } else if (name == "traceparent") {
    traceparent = value;
  }
}

void ConnectHead::SetOfResponse(std::string_view name, std::string_view value) {
  if (name == "baggage") {
    AppendMerged(baggage, value);
  } else if (name == ":status" && value.size() == 3) {
    baggage.clear();
    status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
  }
}

bool ConnectHead::Acceptable() const {
  return method == "CONNECT" && !forbidden && !authority.empty() && authority.size() <= kAuthorityBytes;
}

void ConnectHead::LimitTelemetry() {
  if (baggage.size() + forwarded.size() + traceparent.size() <= kTelemetryBytes) return;
  baggage.clear();
  forwarded.clear();
  traceparent.clear();
}

}  // namespace orlop
