// data thread · one engine: what its parts share, and the turn: ready descriptors, one batch to TypeScript,
// one flush.
#pragma once

#include <uv.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/buffers.h"
#include "engine/core/descriptor.h"
#include "engine/core/event_queue.h"
#include "engine/core/events.h"
#include "engine/core/loop.h"
#include "engine/core/slots.h"
#include "engine/core/timers.h"
#include "engine/relay/acceptor.h"
#include "engine/relay/dialer.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/tunnel_pool.h"
#include "shared/unique_fd.h"

namespace orlop {

class Connection;
class Tunnel;

struct Pod {
  uint64_t netns_cookie = 0;
  int32_t identity = -1;
  std::unique_ptr<SocketPool> pools[kSocketKinds];
  std::vector<std::unique_ptr<Acceptor>> acceptors;
};

// Of tunnels that stand, in milliseconds.
struct TunnelTimes {
  uint64_t ping_every = 10'000;
  uint64_t ping_answer = 20'000;
  uint64_t idle = 300'000;  // without a stream; then whoever dialled it ends it
};

struct Stats {
  int64_t connections = 0;
  int64_t tunnels = 0;
  int64_t streams = 0;
  int64_t handshakes = 0;
  uint64_t shed = 0;
  uint64_t accepted = 0;
  uint64_t batches = 0;
};

class Engine {
 public:
  // Calls TypeScript with the number of events; the number of answers, negative when it failed.
  using Handler = int32_t (*)(void* self, uint32_t events);

  Engine(uv_loop_t* uv, uint8_t* arena, Handler handler, void* self);
  ~Engine() = default;
  // 0 or an errno.
  int Open();
  // Ends everything. `closed` is called when libuv has let go of the handles; then the engine may be deleted.
  void Close(void (*closed)(void* self), void* self);

  // --- from addon.cc --------------------------------------------------------------------------
  void SetPod(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity);
  bool AddListener(uint32_t pod_idx, ListenerKind kind, Descriptor fd);
  void RemovePod(uint32_t pod_idx, bool cut);
  bool AddSocket(uint32_t pod_idx, SocketKind kind, Descriptor fd);
  void SetFlowMap(int fd);
  void Submit();
  bool Counters(SlotRef ref, uint64_t* sent, uint64_t* received) const;
  // TCP's measurements of a side's socket, which of a stream is its tunnel's. False: gone, or no socket there yet.
  bool Transport(SlotRef ref, bool upstream, uint32_t* rtt_us, uint32_t* retransmits) const;
  void RetireTunnels(int32_t identity);
  void Drain();
  Stats stats() const;
  void SetBufferBudget(size_t bytes) { buffer_budget_ = bytes; }
  // A deadline that runs already keeps its time.
  void SetTunnelTimes(const TunnelTimes& times) { tunnel_times_ = times; }

  // --- shared by the parts ----------------------------------------------------------------------
  Loop& loop() { return loop_; }
  Timers& timers() { return timers_; }
  ChunkPool& chunks() { return chunks_; }
  const ChunkPool& chunks() const { return chunks_; }
  const TunnelTimes& tunnel_times() const { return tunnel_times_; }
  Scratch& scratch() { return *scratch_; }
  EventQueue& events() { return events_; }
  const EventQueue& events() const { return events_; }
  Slots& slots() { return slots_; }
  TunnelPool& tunnels() { return tunnels_; }
  const TunnelPool& tunnels() const { return tunnels_; }
  HboneServer& hbone() { return hbone_; }
  int flow_map() const { return flow_map_.get(); }
  bool draining() const { return draining_; }
  uint64_t now_ms() const { return timers_.now_ms(); }
  uint64_t NowUs() const { return uv_hrtime() / 1000; }
  Pod* FindPod(uint32_t pod_idx);
  SocketPool* FindPool(uint32_t pod_idx, SocketKind kind);
  // Buffers hold so much that nothing new is taken.
  bool Overloaded() const;
  // At most one connection lives on this thread.
  bool OneConnection() const { return stats_.connections <= 1; }
  void EmitPoolLow(uint32_t pod_idx, SocketKind kind, uint32_t count);
  // Accepts one connection with the last descriptor, resets it, and counts it.
  void ShedOne(int listener);
  void Dirty(Tunnel* tunnel);
  void Again(Connection* connection);
  void Again(Tunnel* tunnel);
  void Bury(Connection* connection);
  void Bury(Tunnel* tunnel);
  void CountConnection(int change) { stats_.connections += change; }
  void CountTunnel(int change) { stats_.tunnels += change; }
  void CountHandshake(int change) { stats_.handshakes += change; }
  void CountAccepted() { stats_.accepted++; }
  void CountShed() { stats_.shed++; }

 private:
  void EndTurn();
  void KeepBudget();
  void DeliverEvents();
  void Apply(const orlop_engine_answer& answer, const uint8_t* text, size_t text_size);
  void RunAgain();
  void FlushDirty();
  void Reap();
  void EndEverything();

  Loop loop_;
  Timers timers_;
  ChunkPool chunks_;
  std::unique_ptr<Scratch> scratch_;
  uint8_t* arena_;
  EventQueue events_;
  Slots slots_;
  Handler handler_;
  void* handler_self_;
  UniqueFd flow_map_;
  UniqueFd reserve_;
  bool draining_ = false;
  bool in_turn_ = false;
  bool closing_ = false;
  bool ended_ = false;
  void (*closed_)(void*) = nullptr;
  void* closed_self_ = nullptr;
  Stats stats_;
  // Bytes that wait for slow sockets, per thread; a tunnel alone may hold its connection window of 16 MiB.
  size_t buffer_budget_ = 512u << 20;
  TunnelTimes tunnel_times_;
  std::vector<Tunnel*> dirty_;
  std::vector<Tunnel*> flushing_;
  std::vector<Tunnel*> again_tunnels_;
  std::vector<Connection*> again_connections_;
  std::vector<Connection*> dead_connections_;
  std::vector<Tunnel*> dead_tunnels_;
  std::unordered_map<uint32_t, std::unique_ptr<Pod>> pods_;
  std::vector<std::unique_ptr<Acceptor>> dead_acceptors_;
  TunnelPool tunnels_;
  HboneServer hbone_;
};

}  // namespace orlop
