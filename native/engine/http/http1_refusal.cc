// any thread · names and statuses of the refusals of HTTP/1.
#include "engine/http/http1_refusal.h"

namespace orlop {
namespace {

struct Row {
  const char* name;
  int status;
};

// In the order of the enumeration.
constexpr Row kRows[] = {
    {"none", 0},
    {"head-too-large", 431},
    {"too-many-fields", 431},
    {"head-end", 400},
    {"line-end", 400},
    {"start-line", 400},
    {"version", 505},
    {"target", 400},
    {"obs-fold", 400},
    {"field-name", 400},
    {"field-value", 400},
    {"connect", 501},
    {"host-missing", 400},
    {"host-twice", 400},
    {"host", 400},
    {"host-mismatch", 400},
    {"length-and-encoding", 400},
    {"encoding-version", 400},
    {"encoding", 400},
    {"coding", 501},
    {"length-twice", 400},
    {"length", 400},
    {"framing-forbidden", 400},
    {"connection", 400},
    {"connection-names", 400},
    {"upgrade", 400},
    {"chunk-line-too-long", 400},
    {"chunk-line", 400},
    {"chunk-size", 400},
    {"chunk-end", 400},
    {"trailers-too-large", 431},
    {"trailer-field", 400},
    {"extensions-too-large", 400},
    {"body-cut", 400},
    {"pod-budget", 503},
    {"http2", 400},
};
static_assert(sizeof kRows / sizeof kRows[0] == kHttp1Refusals);

}  // namespace

const char* NameOf(Http1Refusal refusal) {
  return kRows[static_cast<int>(refusal)].name;
}

int StatusOf(Http1Refusal refusal) {
  return kRows[static_cast<int>(refusal)].status;
}

}  // namespace orlop
