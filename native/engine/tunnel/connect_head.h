// 11 · data thread · the head of a CONNECT request or of its response: what HBONE takes from it, and what it refuses.
#pragma once

#include <string>
#include <string_view>

namespace orlop {

struct ConnectHead {
  std::string method, authority;
  // Labels of metrics and logs, never part of a decision. With the response's status `baggage` becomes the response's.
  std::string baggage, forwarded, traceparent;
  bool forbidden = false;  // :scheme, :path or :protocol was there
  int status = 0;

  // A field of a request, and of a response.
  void SetOfRequest(std::string_view name, std::string_view value);
  void SetOfResponse(std::string_view name, std::string_view value);
  // A request is CONNECT with an authority and no other pseudo-header (docs/reference/hbone.md). Others get 400.
  bool Acceptable() const;
  // Drops telemetry that is longer than TypeScript would read (agent/engine/events.ts).
  void LimitTelemetry();
};

}  // namespace orlop
