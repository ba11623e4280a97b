// 11 · data thread · the tunnel's far end: handshakes within bounds, and a connection for each CONNECT.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"
#include "engine/tunnel/tunnel_context.h"
#include "engine/tunnel/tunnel_owner.h"

namespace orlop {

struct Upstreams;

class HboneServer final : public TunnelOwner {
 public:
  HboneServer(const TunnelContext& context, const Upstreams& upstreams)
      : context_(context), upstreams_(upstreams) {}
  // A peer has connected to :15008 of a pod.
  void Accept(uint32_t pod_idx, int32_t identity, Descriptor fd, const Endpoint& peer);

  // TunnelOwner.
  void OnHandshakeOver(const Endpoint& peer) override;
  H2Stream* OnRequest(Tunnel& tunnel) override;

 private:
  const TunnelContext& context_;
  const Upstreams& upstreams_;
  // Handshakes under way by peer address, so that a silent client cannot hold more than its share.
  std::unordered_map<std::string, uint32_t> half_open_;
};

}  // namespace orlop
