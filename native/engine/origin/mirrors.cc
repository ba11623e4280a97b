// 22 · data thread · copies of requests, within bounds: of an origin, of a pod, and of the thread.
#include "engine/origin/mirrors.h"

#include <utility>

#include "engine/core/arena.h"
#include "engine/origin/mirror_http1.h"
#include "engine/origin/mirror_http2.h"

namespace orlop {
namespace {

// Copies under way at once: to an origin, which may take none of them, and of a pod.
constexpr uint32_t kMostAtOrigin = 64;
constexpr uint32_t kMostOfPod = 256;
// Bytes that copies may hold: of a pod, and of all pods of the thread.
constexpr size_t kBytesOfPod = 8u << 20;
constexpr size_t kBytes = 32u << 20;
constexpr size_t kReadInTurn = 128 * 1024;

}  // namespace

bool Mirrors::Hold(uint32_t pod_idx, size_t bytes) {
  OfPod& pod = pods_[pod_idx];
  const bool fits = !stopped_ && pod.bytes + bytes <= kBytesOfPod && bytes_ + bytes <= kBytes &&
                    !services_.buffers.Overloaded();
  if (!fits) {
    Release(pod_idx, 0);
    return false;
  }
  pod.bytes += bytes;
  bytes_ += bytes;
  services_.buffers.heads += bytes;
  return true;
}

void Mirrors::Release(uint32_t pod_idx, size_t bytes) {
  const auto found = pods_.find(pod_idx);
  if (found == pods_.end()) return;
  found->second.bytes -= bytes;
  bytes_ -= bytes;
  services_.buffers.heads -= bytes;
  if (found->second.bytes == 0 && found->second.open == 0) pods_.erase(found);
}

void Mirrors::Send(std::shared_ptr<const MirroredRequest> request, MirrorTarget target) {
  const uint32_t pod_idx = request->pod_idx;
  if (stopped_) return Report(pod_idx, MirrorEnd::kDrained);
  OfPod& pod = pods_[pod_idx];
  const auto at_origin = open_at_.find(target.origin);
  const bool full = at_origin != open_at_.end() && at_origin->second >= kMostAtOrigin;
  if (full || pod.open >= kMostOfPod) return Report(pod_idx, MirrorEnd::kFull);
  open_at_[target.origin]++;
  pod.open++;
  const bool http2 = request->protocol == HttpProtocol::kHttp2;
  MirrorExchange* const exchange =
      http2 ? static_cast<MirrorExchange*>(
                  new MirrorHttp2(services_, *this, std::move(request), std::move(target)))
            : new MirrorHttp1(services_, *this, std::move(request), std::move(target));
  waiting_.PushBack(exchange);
  services_.turn.Dirty(this);
}

void Mirrors::Flush() {
  while (MirrorExchange* exchange = waiting_.PopFront()) {
    open_.PushBack(exchange);
    exchange->Start();
  }
}

bool Mirrors::MayRead() {
  if (turn_ != services_.turn.number()) {
    turn_ = services_.turn.number();
    read_ = 0;
  }
  return read_ < kReadInTurn;
}

void Mirrors::Ended(MirrorExchange& exchange, MirrorEnd end) {
  exchange.Hook<MirrorExchange>::Remove();
  const auto at_origin = open_at_.find(exchange.origin());
  if (at_origin != open_at_.end() && --at_origin->second == 0) open_at_.erase(at_origin);
  const auto pod = pods_.find(exchange.pod_idx());
  if (pod != pods_.end()) {
    pod->second.open--;
    if (pod->second.bytes == 0 && pod->second.open == 0) pods_.erase(pod);
  }
  Report(exchange.pod_idx(), end);
}

void Mirrors::Report(uint32_t pod_idx, MirrorEnd why) {
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_MIRROR_ENDED;
  record.pod_idx = pod_idx;
  record.kind = static_cast<uint32_t>(why);
  services_.events.Emit(record);
}

void Mirrors::Withdraw(uint32_t origin) {
  for (List<MirrorExchange, MirrorExchange>* list : {&waiting_, &open_}) {
    for (MirrorExchange* at = list->First(); at && open_at_.count(origin) > 0;) {
      // An exchange that stops may take others of its connection along.
      const bool stops = at->origin() == origin;
      if (stops) at->Stop(MirrorEnd::kWithdrawn);
      at = stops ? list->First() : list->Next(at);
    }
  }
}

void Mirrors::Stop() {
  stopped_ = true;
  for (List<MirrorExchange, MirrorExchange>* list : {&waiting_, &open_}) {
    while (MirrorExchange* exchange = list->First()) exchange->Stop(MirrorEnd::kDrained);
  }
}

}  // namespace orlop
