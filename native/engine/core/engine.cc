// data thread · the turn, the pods, and what the answers set in motion.
#include "engine/core/engine.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/core/descriptor.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

// How often one turn goes round events → answers → writes before the rest of the thread is served.
constexpr int kRounds = 8;

}  // namespace

Engine::Engine(uv_loop_t* uv, uint8_t* arena, Handler handler, void* self)
    : loop_(uv),
      timers_(uv),
      scratch_(new Scratch),
      arena_(arena),
      events_(arena),
      handler_(handler),
      handler_self_(self),
      tunnels_(*this),
      hbone_(*this) {
  timers_.on_due = [](void* engine) { static_cast<Engine*>(engine)->EndTurn(); };
  timers_.on_due_self = this;
}

int Engine::Open() {
  reserve_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return loop_.Open([](void* self) { static_cast<Engine*>(self)->EndTurn(); }, this);
}

// --- the turn ------------------------------------------------------------------------------------

void Engine::EndTurn() {
  if (in_turn_ || ended_) return;
  in_turn_ = true;
  timers_.Run();
  RunAgain();
  KeepBudget();
  for (int round = 0; round < kRounds && !closing_; round++) {
    DeliverEvents();
    FlushDirty();
    if (events_.empty()) break;
  }
  in_turn_ = false;
  if (closing_) return EndEverything();
  Reap();
  if (!events_.empty() || !dirty_.empty() || !again_connections_.empty() || !again_tunnels_.empty())
    loop_.Again();
}

void Engine::DeliverEvents() {
  const uint32_t count = events_.Deliver();
  int32_t answers = 0;
  if (count > 0) {
    stats_.batches++;
    answers = handler_(handler_self_, count);
  }
  for (int32_t i = 0; i < answers && i < ORLOP_ARENA_EVENT_CAPACITY; i++) {
    orlop_engine_answer answer;
    memcpy(&answer, arena_ + ORLOP_ARENA_ANSWERS + static_cast<size_t>(i) * sizeof answer, sizeof answer);
    Apply(answer, arena_ + ORLOP_ARENA_ANSWER_TEXT, ORLOP_ARENA_ANSWER_TEXT_SIZE);
  }
  events_.Delivered();
}

void Engine::Submit() {
  orlop_engine_answer answer;
  memcpy(&answer, arena_ + ORLOP_ARENA_LATE_ANSWER, sizeof answer);
  Apply(answer, arena_ + ORLOP_ARENA_LATE_TEXT, ORLOP_ARENA_LATE_TEXT_SIZE);
  if (!in_turn_) loop_.Again();
}

void Engine::RunAgain() {
  std::vector<Connection*> connections;
  std::vector<Tunnel*> tunnels;
  connections.swap(again_connections_);
  tunnels.swap(again_tunnels_);
  for (Connection* connection : connections) {
    connection->in_again = false;
    connection->OnAgain();
  }
  for (Tunnel* tunnel : tunnels) {
    tunnel->in_again = false;
    tunnel->OnReady(0);
  }
}

void Engine::FlushDirty() {
  flushing_.swap(dirty_);
  for (Tunnel* tunnel : flushing_) {
    tunnel->dirty = false;
    tunnel->Flush();
  }
  flushing_.clear();
}

// Whatever ended in this turn may still have been named by events of the same turn; now nobody does.
void Engine::Reap() {
  for (Connection* connection : dead_connections_) {
    if (connection->in_again) {
      again_connections_.erase(std::remove(again_connections_.begin(), again_connections_.end(), connection),
                               again_connections_.end());
    }
    delete connection;
  }
  dead_connections_.clear();
  for (Tunnel* tunnel : dead_tunnels_) {
    if (tunnel->in_again) {
      again_tunnels_.erase(std::remove(again_tunnels_.begin(), again_tunnels_.end(), tunnel),
                           again_tunnels_.end());
    }
    if (tunnel->dirty) dirty_.erase(std::remove(dirty_.begin(), dirty_.end(), tunnel), dirty_.end());
    delete tunnel;
  }
  dead_tunnels_.clear();
  dead_acceptors_.clear();
}

void Engine::Dirty(Tunnel* tunnel) {
  if (tunnel->dirty) return;
  tunnel->dirty = true;
  dirty_.push_back(tunnel);
}

void Engine::Again(Connection* connection) {
  if (connection->in_again) return;
  connection->in_again = true;
  again_connections_.push_back(connection);
}

void Engine::Again(Tunnel* tunnel) {
  if (tunnel->in_again) return;
  tunnel->in_again = true;
  again_tunnels_.push_back(tunnel);
}

// Buried outside a turn (by a call from TypeScript): the next turn reaps.
void Engine::Bury(Connection* connection) {
  dead_connections_.push_back(connection);
  if (!in_turn_) loop_.Again();
}

void Engine::Bury(Tunnel* tunnel) {
  dead_tunnels_.push_back(tunnel);
  if (!in_turn_) loop_.Again();
}

// --- budgets and counters ------------------------------------------------------------------------

bool Engine::Overloaded() const {
  return chunks_.bytes_in_use() > buffer_budget_ / 100 * 80;
}

// Taking nothing new was not enough: whoever holds most ends, so that all others go on.
void Engine::KeepBudget() {
  while (chunks_.bytes_in_use() > buffer_budget_ / 100 * 95) {
    Connection* largest = nullptr;
    for (Connection* connection : slots_.Connections()) {
      if (connection->buffered() > (largest ? largest->buffered() : 0)) largest = connection;
    }
    if (!largest) return;
    stats_.shed++;
    largest->Finish(CloseCause::kShed);
  }
}

void Engine::ShedOne(int listener) {
  reserve_.reset();
  Descriptor accepted(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (accepted) stats_.shed++;
  accepted.CloseWithReset();
  reserve_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool Engine::Counters(SlotRef ref, uint64_t* sent, uint64_t* received) const {
  const Connection* connection = slots_.FindConnection(ref.index, ref.generation);
  if (!connection) return false;
  *sent = connection->sent();
  *received = connection->received();
  return true;
}

bool Engine::Transport(SlotRef ref, bool upstream, uint32_t* rtt_us, uint32_t* retransmits) const {
  const Connection* connection = slots_.FindConnection(ref.index, ref.generation);
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (!connection || getsockopt(connection->SocketOf(upstream), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return false;
  }
  *rtt_us = info.tcpi_rtt;
  *retransmits = info.tcpi_total_retrans;
  return true;
}

Stats Engine::stats() const {
  Stats stats = stats_;
  for (const Tunnel* tunnel : slots_.Tunnels()) stats.streams += tunnel->streams();
  return stats;
}

void Engine::RetireTunnels(int32_t identity) {
  tunnels_.RetireIdentity(identity);
}

// --- the end -----------------------------------------------------------------------------------------

void Engine::Drain() {
  draining_ = true;
  for (auto& [pod_idx, pod] : pods_) {
    for (auto& acceptor : pod->acceptors) dead_acceptors_.push_back(std::move(acceptor));
    pod->acceptors.clear();
  }
  tunnels_.RetireAll();
  for (Tunnel* tunnel : slots_.Tunnels()) tunnel->Retire();
  if (!in_turn_) loop_.Again();
}

void Engine::Close(void (*closed)(void* self), void* self) {
  if (closing_) return;
  closing_ = true;
  closed_ = closed;
  closed_self_ = self;
  if (!in_turn_) EndEverything();
}

void Engine::EndEverything() {
  ended_ = true;
  in_turn_ = true;  // what ends now asks for no turn
  for (Connection* connection : slots_.Connections()) connection->Finish(CloseCause::kDrained);
  for (Tunnel* tunnel : slots_.Tunnels()) tunnel->End(CloseCause::kDrained, 0, "");
  for (auto& [pod_idx, pod] : pods_) pod->acceptors.clear();
  Reap();
  pods_.clear();
  loop_.Stop();
  timers_.handle()->data = this;
  uv_close(reinterpret_cast<uv_handle_t*>(timers_.handle()), [](uv_handle_t* handle) {
    auto* self = static_cast<Engine*>(handle->data);
    self->closed_(self->closed_self_);
  });
}

}  // namespace orlop
