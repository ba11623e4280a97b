// 11 · data thread · accepted tunnels. What a request may ask is connect_head.cc's; a request becomes a connection like any other.
#include "engine/tunnel/hbone_server.h"

#include <utility>

#include "engine/core/services.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

constexpr uint32_t kHalfOpenPerPeer = 128;

std::string AddressKey(const Endpoint& peer) {
  return std::string(reinterpret_cast<const char*>(peer.addr.bytes), sizeof peer.addr.bytes);
}

}  // namespace

void HboneServer::Accept(uint32_t pod_idx, int32_t identity, Descriptor fd, const Endpoint& peer) {
  uint32_t& half_open = half_open_[AddressKey(peer)];
  if (half_open >= kHalfOpenPerPeer) {
    context_.services.stats.shed++;
    return fd.CloseWithReset();
  }
  half_open++;
  auto* tunnel = new Tunnel(context_, Role::kServer, *this, pod_idx, peer, identity);
  tunnel->Accept(std::move(fd));
}

void HboneServer::OnHandshakeOver(const Endpoint& peer) {
  const auto found = half_open_.find(AddressKey(peer));
  if (found != half_open_.end() && --found->second == 0) half_open_.erase(found);
}

// TypeScript does not know it before its head is complete.
H2Stream* HboneServer::OnRequest(Tunnel& tunnel) {
  auto* connection = new Connection(context_.services, upstreams_, tunnel.pod_idx(), tunnel.peer());
  return connection->Serve(tunnel);
}

}  // namespace orlop
