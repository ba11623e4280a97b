// 4 · data thread · one listening socket of a pod, shared with other threads and with the keeper, which holds it.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "engine/core/descriptor.h"
#include "engine/core/events.h"
#include "engine/core/pollable.h"
#include "engine/core/services.h"
#include "engine/core/turn.h"
#include "engine/relay/upstreams.h"
#include "shared/unique_fd.h"

namespace orlop {

class HboneServer;
class OriginalDestinations;
struct Pod;

// What all acceptors of an engine are given.
struct AcceptorContext {
  const EngineServices& services;
  const Upstreams& upstreams;
  HboneServer& hbone;
  const OriginalDestinations& flows;
  // A descriptor kept free: when the process has no other left, one waiting connection can still be accepted and reset.
  UniqueFd reserve;
};

class Acceptor final : public Pollable, public Turn::Mortal {
 public:
  // `pod` outlives it.
  Acceptor(AcceptorContext& context, uint32_t pod_idx, const Pod& pod, ListenerKind kind, Descriptor fd);
  // False: the descriptor cannot be waited for.
  bool Open();
  // What comes from now on waits at the keeper's copy of the listener, for the next agent.
  void Stop() { fd_.Close(); }
  void OnReady(uint32_t events) override;

 private:
  void Take(Descriptor fd, const sockaddr_storage& address, socklen_t length);
  void ShedOne();
  AcceptorContext& context_;
  uint32_t pod_idx_;
  const Pod& pod_;
  ListenerKind kind_;
  Descriptor fd_;
};

}  // namespace orlop
