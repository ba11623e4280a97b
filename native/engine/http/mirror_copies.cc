// 22 · data thread · copies of a request: kept within bounds while it passes.
#include "engine/http/mirror_copies.h"

#include <utility>

#include "engine/core/answer.h"
#include "engine/core/arena.h"
#include "engine/http/head_edits.h"

namespace orlop {
namespace {

// From the request's head to its end. A stream that stays open is nothing that could be sent a second time.
constexpr uint64_t kWholeMs = 5'000;
// What a copy takes beside head and body.
constexpr size_t kBeside = 2 * 1024;
constexpr size_t kMostTargets = 16;

}  // namespace

MirrorCopies::MirrorCopies(const EngineServices& services, MirrorRoom& room, uint32_t pod_idx)
    : services_(services),
      room_(room),
      pod_idx_(pod_idx),
      deadline_([](void* self) { static_cast<MirrorCopies*>(self)->Drop(MirrorEnd::kIncomplete); }, this) {}

void MirrorCopies::Ask(const Answer& answer) {
  HeadEdits edits;
  if (request_ || targets_.size() == kMostTargets || !edits.Read(answer.Bytes(2))) return;
  MirrorTarget target;
  target.origin = answer.origin();
  target.target = answer.Text(0);
  target.authority = answer.Text(1);
  target.edits = answer.Bytes(2);
  target.without_proxy_headers = answer.without_proxy_headers();
  targets_.push_back(std::move(target));
}

void MirrorCopies::Begin(const Http1KeptHead& kept, HttpProtocol protocol, bool is_https) {
  if (targets_.empty()) return;
  Http1Head head;
  kept.Read(&head);
  if (head.upgrades_websocket) return Drop(MirrorEnd::kIncomplete);
  const uint64_t length = head.framing == Http1Framing::kLength ? head.content_length : 0;
  if (length > ORLOP_MOST_MIRRORED) return Drop(MirrorEnd::kTooLarge);
  request_ = std::make_shared<MirroredRequest>(room_, pod_idx_);
  request_->protocol = protocol;
  request_->is_https = is_https;
  request_->head.Keep(kept.bytes(), kept.length(), head);
  if (!Hold(request_->head.held() + targets_.size() * kBeside)) return;
  services_.timers.Start(&deadline_, kWholeMs);
}

void MirrorCopies::Add(const uint8_t* bytes, size_t length) {
  if (!request_) return;
  if (request_->body.size() + length > ORLOP_MOST_MIRRORED) return Drop(MirrorEnd::kTooLarge);
  if (Hold(length)) request_->body.append(reinterpret_cast<const char*>(bytes), length);
}

bool MirrorCopies::Hold(size_t bytes) {
  if (!room_.Hold(pod_idx_, bytes)) {
    Drop(MirrorEnd::kFull);
    return false;
  }
  request_->held += bytes;
  return true;
}

void MirrorCopies::Whole() {
  if (!request_) return;
  deadline_.Cancel();
  for (MirrorTarget& target : targets_) room_.Send(request_, std::move(target));
  targets_.clear();
  request_.reset();
}

void MirrorCopies::Drop(MirrorEnd why) {
  deadline_.Cancel();
  for (size_t i = 0; i < targets_.size(); i++) room_.Report(pod_idx_, why);
  targets_.clear();
  request_.reset();
}

}  // namespace orlop
