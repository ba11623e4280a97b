// 11 · data thread · the tunnel's far end: handshakes within bounds, CONNECTs checked and reported.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "engine/core/descriptor.h"
#include "engine/core/endpoint.h"

namespace orlop {

class Connection;
class Engine;
class Tunnel;

class HboneServer {
 public:
  explicit HboneServer(Engine& engine) : engine_(engine) {}
  void Accept(uint32_t pod_idx, int32_t identity, Descriptor fd, const Endpoint& peer);
  void HalfOpenDone(const Endpoint& peer);

 private:
  Engine& engine_;
  // Handshakes under way by peer address, so that one silent client cannot hold more than its share.
  std::unordered_map<std::string, uint32_t> half_open_;
};

// A request's HEADERS begin: a connection that TypeScript does not know yet.
Connection* NewServerStream(Tunnel& tunnel);
// They are complete: report it, or answer 400.
void OnConnectRequest(Tunnel& tunnel, Connection* connection, bool ended);

}  // namespace orlop
