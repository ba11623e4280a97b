// data thread · one engine: it builds the parts, and runs the turn: ready descriptors, one batch to TypeScript, one flush.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>

#include "engine/core/arena.h"
#include "engine/core/descriptor.h"
#include "engine/core/events.h"
#include "engine/core/services.h"
#include "engine/kernel/original_dst.h"
#include "engine/origin/origin_pool.h"
#include "engine/pod/pods.h"
#include "engine/relay/acceptor.h"
#include "engine/relay/dialer.h"
#include "engine/relay/upstreams.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/peer_budgets.h"
#include "engine/tunnel/tunnel_context.h"
#include "engine/tunnel/tunnel_pool.h"
#include "engine/tunnel/tunnel_times.h"
#include "engine/tunnel/unanswered.h"

namespace orlop {

// Nothing but core/engine_object.cc and tests includes this file: the parts know core/services.h.
class Engine {
 public:
  // Calls TypeScript with the number of events; the number of answers, negative when it failed.
  using Handler = int32_t (*)(void* self, uint32_t events);

  Engine(uv_loop_t* uv, uint8_t* arena, Handler handler, void* self);
  // 0 or an errno.
  int Open();
  // Ends everything. `closed` is called when libuv has let go of the handles; then the engine may be deleted.
  void Close(void (*closed)(void* self), void* self);

  void SetPod(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity);
  // False: no such pod, or the descriptor cannot be waited for.
  bool AddListener(uint32_t pod_idx, ListenerKind kind, Descriptor fd);
  // The keeper has released the pod: its tunnels take no new requests. What is open goes on.
  void LeavePod(uint32_t pod_idx);
  void RemovePod(uint32_t pod_idx, bool cut);
  bool AddSocket(uint32_t pod_idx, SocketKind kind, Descriptor fd);
  void SetFlowMap(int fd) { flows_.SetMap(fd); }
  // TypeScript has taken so long for an event of this pod.
  void SpendTime(uint32_t pod_idx, uint32_t us) { shares_.SpendTime(pod_idx, us); }
  void Submit();
  // False: there is no such connection.
  bool Counters(SlotRef ref, uint64_t* sent, uint64_t* received) const;
  // TCP's measurements of a side's socket, which of a stream is its tunnel's. False: gone, or no socket there yet.
  bool Transport(SlotRef ref, bool upstream, uint32_t* rtt_us, uint32_t* retransmits) const;
  void RetireTunnels(int32_t identity) {
    origins_.RetireIdentity(identity);
    tunnels_.RetireIdentity(identity);
  }
  // InstallRoots was called: tunnels whose peer would not be verified now end, with their streams.
  void CheckPeers();
  void Drain();
  Stats stats() const;
  uint64_t tunnels_dialled() const { return tunnels_.dialled(); }
  size_t tunnel_groups() const { return tunnels_.groups(); }
  size_t abandoned() const { return unanswered_.total(); }
  uint64_t events_total() const { return events_.total(); }
  size_t buffer_bytes() const { return buffers_.bytes(); }
  void SetBufferBudget(size_t bytes) { buffers_.SetBudget(bytes); }
  // From the next look at a relay on.
  void SetUnread(uint64_t ms) { buffers_.SetUnread(ms); }
  void SetPodLimits(const PodLimits& limits) { shares_.SetLimits(limits); }
  // A deadline that runs already keeps its time.
  void SetTunnelTimes(const TunnelTimes& times) { tunnel_times_ = times; }
  bool draining() const { return draining_; }

  // Before the first origin is defined.
  ConnectionPlaces& places() { return origins_.places(); }

  // For tests and counters.
  Loop& loop() { return loop_; }
  HboneServer& hbone() { return hbone_; }

 private:
  void EndTurn();
  void KeepBudget();
  void DeliverEvents();
  void Apply(const uint8_t* record, const uint8_t* text, size_t text_size);
  void EndEverything();
  void OnHandleClosed();

  Loop loop_;
  Clock clock_;
  Timers timers_;
  Timers pauses_;
  Buffers buffers_;
  uint8_t* arena_;
  EventQueue events_;
  Slots slots_;
  Turn turn_;
  Stats stats_;
  PodShares shares_;
  PodRoom room_{slots_, buffers_, clock_};
  const EngineServices services_;
  TunnelTimes tunnel_times_;
  Unanswered unanswered_;
  PeerBudgets budgets_;
  Pods pods_;
  const TunnelContext tunnel_context_;
  TunnelPool tunnels_;
  // Threads begin at different ports.
  SourcePorts source_ports_{static_cast<uint32_t>(uv_hrtime())};
  OriginPool origins_;
  const Upstreams upstreams_;
  HboneServer hbone_;
  OriginalDestinations flows_;
  AcceptorContext acceptors_;
  Handler handler_;
  void* handler_self_;
  bool draining_ = false;
  bool closing_ = false;
  bool ended_ = false;
  int open_handles_ = 2;  // of both wheels
  void (*closed_)(void*) = nullptr;
  void* closed_self_ = nullptr;
};

}  // namespace orlop
