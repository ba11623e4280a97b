// 6 · data thread · one answer of TypeScript, checked and handed to whom it names; one that is gone is no
// error.
#include <algorithm>
#include <memory>
#include <string_view>

#include "engine/core/engine.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {

namespace {

Endpoint ToEndpoint(const orlop_endpoint& record) {
  return {record.addr, record.port};
}

// A span of the text area; empty when it does not lie inside. Bytes no header may hold make it empty too.
std::string_view TextOf(const orlop_span& span, const uint8_t* text, size_t size) {
  if (span.length > ORLOP_ANSWER_TEXT_LIMIT || span.offset > size || span.length > size - span.offset)
    return {};
  const std::string_view view(reinterpret_cast<const char*>(text) + span.offset, span.length);
  const bool clean = std::all_of(view.begin(), view.end(),
                                 [](char c) { return static_cast<uint8_t>(c) >= 0x20 && c != 0x7f; });
  return clean ? view : std::string_view();
}

}  // namespace

void Engine::Apply(const orlop_engine_answer& answer, const uint8_t* text, size_t text_size) {
  if (Tunnel* tunnel = slots_.FindTunnel(answer.conn, answer.generation)) {
    if (answer.type == ORLOP_ANSWER_PEER) return tunnel->OnPeer(answer.identity);
    if (answer.type == ORLOP_ANSWER_CLOSE) return tunnel->End(CloseCause::kClosedByAnswer, 0, "");
    return tunnel->OnRejectPeer();
  }
  Connection* connection = slots_.FindConnection(answer.conn, answer.generation);
  if (!connection) return;  // it ended meanwhile
  switch (answer.type) {
    case ORLOP_ANSWER_RELAY:
      return connection->OnRelay(ToEndpoint(answer.to));
    case ORLOP_ANSWER_DIAL: {
      const Endpoint from = ToEndpoint(answer.from);
      return connection->OnDial(answer.pod_idx, ToEndpoint(answer.to), answer.from.known ? &from : nullptr,
                                TextOf(answer.text[1], text, text_size));
    }
    case ORLOP_ANSWER_TUNNEL: {
      auto request = std::make_unique<ConnectText>();
      request->to = ToEndpoint(answer.to);
      request->identity = answer.identity;
      request->expect = answer.expect;
      request->authority = TextOf(answer.text[0], text, text_size);
      request->baggage = TextOf(answer.text[1], text, text_size);
      request->forwarded = TextOf(answer.text[2], text, text_size);
      request->traceparent = TextOf(answer.text[3], text, text_size);
      return connection->OnTunnel(std::move(request));
    }
    case ORLOP_ANSWER_REFUSE:
      return connection->OnRefuse(answer.status);
    case ORLOP_ANSWER_CLOSE:
      return connection->Finish(CloseCause::kClosedByAnswer);
    default:
      return;  // a peer's verdict for what is no tunnel
  }
}

}  // namespace orlop
