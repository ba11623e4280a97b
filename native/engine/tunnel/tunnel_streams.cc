// 10 · data thread · the streams of a tunnel: how many more its peer takes, what was refused, what was abandoned.
#include <algorithm>

#include "engine/tunnel/abandoned_stream.h"
#include "engine/tunnel/tunnel.h"
#include "engine/tunnel/tunnel_owner.h"
#include "engine/tunnel/tunnel_times.h"
#include "engine/tunnel/unanswered.h"

namespace orlop {
namespace {

// How long a heavy stream is remembered after it was last seen to be heavy.
constexpr uint64_t kHeavyMs = 1'000;
// For so long a refusal counts as the peer's limit of streams.
constexpr uint64_t kBelievedMs = 1'000;

}  // namespace

H2Stream* Tunnel::OnRequest() {
  return owner_.OnRequest(*this);
}

void Tunnel::OnStreamGone() {
  idle_since_ms_ = services_.clock.now_ms();
  if (phase_ != Phase::kOpen) return;
  if (!retired_) return owner_.OnTunnelRoom(*this);
  if (Living() == 0) MarkDirty();
}

uint32_t Tunnel::Room() const {
  uint32_t limit = h2_.Limit();
  if (abandoned_ > 0 && abandoned_ >= MostAbandoned()) return 0;
  if (refused_ || services_.clock.now_ms() < believed_until_ms_)
    limit = std::min(limit, std::max(believed_limit_, 1u));
  return limit > h2_.streams() ? limit - h2_.streams() : 0;
}

bool Tunnel::Unsure() const {
  if (!h2_.settings_received() || (refused_ && believed_limit_ == 0)) return true;
  return h2_.streams() == 0 && h2_.AllowsNone();
}

uint32_t Tunnel::MostAbandoned() const {
  return std::max(h2_.Limit() / 2, 1u);
}

void Tunnel::Abandon(H2Stream& stream) {
  abandoned_++;
  context_.unanswered.Add(pod_idx_, peer_);
  new AbandonedStream(services_, *this, stream, context_.times.ping_answer);
  if (retired_ && Living() == 0) MarkDirty();
}

void Tunnel::OnAbandonedGone() {
  abandoned_--;
  context_.unanswered.Remove(pod_idx_, peer_);
}

void Tunnel::OnAnswered() {
  fresh_ = false;
  refused_ = false;
  // A believed limit of 0 came from a peer that refused every stream. It takes streams now, so that was no limit.
  if (believed_limit_ == 0) believed_until_ms_ = 0;
  if (!retired_) owner_.OnTunnelAnswered(*this);
}

void Tunnel::OnRefused() {
  if (retired_ || phase_ != Phase::kOpen) return;
  refused_ = true;
  believed_limit_ = h2_.streams() - 1;
  believed_until_ms_ = services_.clock.now_ms() + kBelievedMs;
  owner_.OnTunnelRefused(*this);
}

void Tunnel::CarriesHeavy() {
  heavy_until_ms_ = services_.clock.now_ms() + kHeavyMs;
}

}  // namespace orlop
