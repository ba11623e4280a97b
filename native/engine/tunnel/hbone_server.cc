// 11 · data thread · what a peer may ask: CONNECT with an authority and nothing else; all other requests get
// 400.
#include "engine/tunnel/hbone_server.h"

#include <utility>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

constexpr uint32_t kHalfOpenPerPeer = 128;
// Telemetry that would label nothing any more (events.ts).
constexpr size_t kTelemetryBytes = 4096;
constexpr size_t kAuthorityBytes = 300;

std::string AddressKey(const Endpoint& peer) {
  return std::string(reinterpret_cast<const char*>(peer.addr.bytes), sizeof peer.addr.bytes);
}

}  // namespace

void HboneServer::Accept(uint32_t pod_idx, int32_t identity, Descriptor fd, const Endpoint& peer) {
  uint32_t& half_open = half_open_[AddressKey(peer)];
  if (half_open >= kHalfOpenPerPeer) {
    engine_.CountShed();
    return fd.CloseWithReset();
  }
  half_open++;
  auto* tunnel = new Tunnel(engine_, Role::kServer, pod_idx, peer, identity);
  tunnel->Accept(std::move(fd));
}

void HboneServer::HalfOpenDone(const Endpoint& peer) {
  const auto found = half_open_.find(AddressKey(peer));
  if (found != half_open_.end() && --found->second == 0) half_open_.erase(found);
}

Connection* NewServerStream(Tunnel& tunnel) {
  auto* connection = new Connection(tunnel.engine(), tunnel.pod_idx(), tunnel.peer());
  connection->BecomeServerStream();
  connection->text = std::make_unique<ConnectText>();
  return connection;
}

void OnConnectRequest(Tunnel& tunnel, Connection* connection, bool ended) {
  ConnectText& text = *connection->text;
  const bool good = text.method == "CONNECT" && !text.forbidden && !text.authority.empty() &&
                    text.authority.size() <= kAuthorityBytes;
  Engine& engine = tunnel.engine();
  if (!good) return connection->Finish(CloseCause::kRefused, 400);
  // An end with the request is an end before the answer: as early as data would be.
  if (ended) return connection->Finish(CloseCause::kProtocolError);
  if (engine.Overloaded()) {
    engine.CountShed();
    return connection->Finish(CloseCause::kShed);
  }
  if (text.baggage.size() + text.forwarded.size() + text.traceparent.size() > kTelemetryBytes) {
    text.baggage.clear();
    text.forwarded.clear();
    text.traceparent.clear();
  }
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_CONNECT_REQUEST;
  record.target = ToRecord(tunnel.local());
  record.identity = tunnel.peer_identity();
  connection->Report(record, text.authority);
}

}  // namespace orlop
