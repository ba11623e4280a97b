// data thread · the turn, and what concerns more than one part of an engine.
#include "engine/core/engine.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

#include "engine/core/answer.h"

namespace orlop {
namespace {

// How often one turn goes round events → answers → writes before the rest of the thread is served.
constexpr int kRounds = 8;

}  // namespace

Engine::Engine(uv_loop_t* uv, uint8_t* arena, Handler handler, void* self)
    : loop_(uv),
      clock_(uv),
      timers_(
          uv, clock_, Timers::kTimeoutTickMs, [](void* engine) { static_cast<Engine*>(engine)->EndTurn(); },
          this),
      pauses_(
          uv, clock_, Timers::kPauseTickMs, [](void* engine) { static_cast<Engine*>(engine)->EndTurn(); },
          this),
      arena_(arena),
      events_(arena),
      turn_(loop_),
      shares_(turn_, buffers_, stats_),
      services_{loop_, clock_, timers_, pauses_, buffers_, slots_, events_, turn_, stats_, shares_, room_},
      budgets_(clock_),
      pods_(services_),
      tunnel_context_{services_, pods_, tunnel_times_, unanswered_, budgets_},
      tunnels_(tunnel_context_),
      origins_(services_, upstreams_),
      upstreams_{pods_, tunnels_, source_ports_, origins_},
      hbone_(tunnel_context_, upstreams_),
      acceptors_{services_, upstreams_, hbone_, flows_, UniqueFd()},
      handler_(handler),
      handler_self_(self) {}

int Engine::Open() {
  acceptors_.reserve.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return loop_.Open([](void* self) { static_cast<Engine*>(self)->EndTurn(); }, this);
}

// The turn.

void Engine::EndTurn() {
  if (turn_.running() || ended_) return;
  turn_.Begin();
  timers_.Run();
  pauses_.Run();
  turn_.RunAgain();
  KeepBudget();
  for (int round = 0; round < kRounds && !closing_; round++) {
    DeliverEvents();
    turn_.FlushDirty();
    if (events_.empty()) break;
  }
  turn_.End();
  clock_.Forget();
  if (closing_) return EndEverything();
  turn_.Reap();
  if (!events_.empty() || turn_.HasWork()) loop_.Again();
}

void Engine::DeliverEvents() {
  const uint32_t count = events_.Deliver();
  int32_t answers = 0;
  if (count > 0) {
    stats_.batches++;
    answers = handler_(handler_self_, count);
    clock_.Forget();
  }
  for (int32_t i = 0; i < answers && i < ORLOP_ARENA_EVENT_CAPACITY; i++) {
    Apply(arena_ + ORLOP_ARENA_ANSWERS + static_cast<size_t>(i) * sizeof(orlop_engine_answer),
          arena_ + ORLOP_ARENA_ANSWER_TEXT, ORLOP_ARENA_ANSWER_TEXT_SIZE);
  }
  events_.Delivered();
}

void Engine::Submit() {
  clock_.Forget();
  Apply(arena_ + ORLOP_ARENA_LATE_ANSWER, arena_ + ORLOP_ARENA_LATE_TEXT, ORLOP_ARENA_LATE_TEXT_SIZE);
  turn_.Wake();
}

// What the answer names may have ended meanwhile; that is no error.
void Engine::Apply(const uint8_t* record, const uint8_t* text, size_t text_size) {
  const Answer answer(record, text, text_size);
  if (answer.type() == ORLOP_ANSWER_DEFINE_ORIGIN) return origins_.Define(answer);
  if (answer.type() == ORLOP_ANSWER_DROP_ORIGIN) return origins_.Drop(answer.ref().index);
  if (SlotOwner* owner = slots_.Find(answer.ref())) owner->OnAnswer(answer);
}

void Engine::KeepBudget() {
  if (!buffers_.Overloaded()) return;
  shares_.Relieve();
  // Taking nothing new was not enough: the connection that holds most ends, so that all others go on.
  while (buffers_.Exhausted()) {
    SlotOwner* largest = room_.LargestOfGreedy();
    OriginSession* const session = largest ? nullptr : origins_.Largest();
    if (!largest) {
      for (SlotOwner* connection : slots_.All(Slots::Kind::kConnection)) {
        if (connection->buffered() > (largest ? largest->buffered() : 0)) largest = connection;
      }
    }
    if (!largest && !session) return;
    stats_.shed++;
    if (session && (!largest || session->buffered() > largest->buffered())) {
      session->OnShed(CloseCause::kShed);
      continue;
    }
    largest->EndNow(CloseCause::kShed);
  }
}

bool Engine::Counters(SlotRef ref, uint64_t* sent, uint64_t* received) const {
  const SlotOwner* owner = slots_.Find(ref);
  return owner && owner->Counters(sent, received);
}

bool Engine::Transport(SlotRef ref, bool upstream, uint32_t* rtt_us, uint32_t* retransmits) const {
  const SlotOwner* owner = slots_.Find(ref);
  tcp_info info{};
  socklen_t size = sizeof info;
  if (!owner || getsockopt(owner->SocketOf(upstream), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  *rtt_us = info.tcpi_rtt;
  *retransmits = info.tcpi_total_retrans;
  return true;
}

Stats Engine::stats() const {
  Stats stats = stats_;
  for (const SlotOwner* tunnel : slots_.All(Slots::Kind::kTunnel)) stats.streams += tunnel->streams();
  return stats;
}

// Pods.

void Engine::SetPod(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity) {
  origins_.SetPod(pod_idx, netns_cookie);
  pods_.Set(pod_idx, netns_cookie, identity);
  turn_.Wake();
}

bool Engine::AddListener(uint32_t pod_idx, ListenerKind kind, Descriptor fd) {
  Pod* pod = pods_.Find(pod_idx);
  if (!pod || draining_) return false;
  auto acceptor = std::make_unique<Acceptor>(acceptors_, pod_idx, *pod, kind, std::move(fd));
  if (!acceptor->Open()) return false;
  pod->acceptors.push_back(std::move(acceptor));
  return true;
}

bool Engine::AddSocket(uint32_t pod_idx, SocketKind kind, Descriptor fd) {
  const bool added = pods_.AddSocket(pod_idx, kind, std::move(fd));
  if (added) turn_.Wake();
  return added;
}

// Peers that keep their tunnels would go on to ask for a pod that is no longer captured.
void Engine::LeavePod(uint32_t pod_idx) {
  for (SlotOwner* tunnel : slots_.All(Slots::Kind::kTunnel)) {
    if (tunnel->pod_idx() == pod_idx) tunnel->StopServing();
  }
  turn_.Wake();
}

void Engine::RemovePod(uint32_t pod_idx, bool cut) {
  // The agent removes the pods of a keeper that died, and sets them again with the next keeper, which lends sockets.
  pods_.Remove(pod_idx, !cut);
  origins_.RemovePod(pod_idx, cut);
  tunnels_.RetirePod(pod_idx);
  // Peers keep tunnels for minutes: without GOAWAY the next stream would come for a pod that is not there.
  for (SlotOwner* tunnel : slots_.All(Slots::Kind::kTunnel)) {
    if (tunnel->pod_idx() == pod_idx) tunnel->Retire();
  }
  if (cut) {
    for (const Slots::Kind kind : {Slots::Kind::kConnection, Slots::Kind::kTunnel}) {
      for (SlotOwner* owner : slots_.All(kind)) {
        if (owner->pod_idx() == pod_idx) owner->EndNow(CloseCause::kDrained);
      }
    }
  }
  turn_.Wake();
}

void Engine::CheckPeers() {
  for (SlotOwner* tunnel : slots_.All(Slots::Kind::kTunnel)) tunnel->CheckPeer();
  turn_.Wake();
}

// The end.

void Engine::Drain() {
  draining_ = true;
  pods_.StopAccepting();
  origins_.Drain();
  tunnels_.RetireAll();
  for (SlotOwner* connection : slots_.All(Slots::Kind::kConnection)) connection->Retire();
  for (SlotOwner* tunnel : slots_.All(Slots::Kind::kTunnel)) tunnel->Retire();
  turn_.Wake();
}

void Engine::Close(void (*closed)(void* self), void* self) {
  if (closing_) return;
  closing_ = true;
  closed_ = closed;
  closed_self_ = self;
  if (!turn_.running()) EndEverything();
}

void Engine::EndEverything() {
  ended_ = true;
  turn_.Begin();  // what ends now asks for no turn
  for (const Slots::Kind kind : {Slots::Kind::kConnection, Slots::Kind::kTunnel}) {
    for (SlotOwner* owner : slots_.All(kind)) owner->EndNow(CloseCause::kDrained);
    // Between the two: what is on a tunnel ends before it.
    origins_.Clear();
  }
  pods_.StopAccepting();
  turn_.Reap();
  pods_.Clear();
  loop_.Stop();
  for (Timers* timers : {&timers_, &pauses_}) {
    timers->handle()->data = this;
    uv_close(reinterpret_cast<uv_handle_t*>(timers->handle()),
             [](uv_handle_t* handle) { static_cast<Engine*>(handle->data)->OnHandleClosed(); });
  }
}

void Engine::OnHandleClosed() {
  if (--open_handles_ == 0) closed_(closed_self_);
}

}  // namespace orlop
