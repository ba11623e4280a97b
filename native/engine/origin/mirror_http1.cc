// 22 · data thread · a copy of a request of HTTP/1: written whole, its response read to its end.
#include "engine/origin/mirror_http1.h"

#include <utility>

#include "engine/http/head_edits.h"
#include "engine/origin/mirrors.h"

namespace orlop {
MirrorHttp1::MirrorHttp1(const EngineServices& services, Mirrors& mirrors,
                         std::shared_ptr<const MirroredRequest> request, MirrorTarget target)
    : MirrorExchange(services, mirrors, std::move(request), std::move(target)),
      out_(services.buffers.chunks) {
  exchange_.SetApart();
}

void MirrorHttp1::Go() {
  link_ = mirrors_.origins().Take(target_.origin, pod_idx(), LinkUse::kTrusted, *this);
  link_ ? link_->Open() : Finish(MirrorEnd::kNotReached);
}

void MirrorHttp1::OnOriginOpen() {
  out_.end = &link_->end();
  link_->StartBytes(*this);
  Write() ? Pump() : Lose();
}

void MirrorHttp1::OnOriginFailed(CloseCause, int, std::string_view) {
  link_ = nullptr;
  Finish(MirrorEnd::kNotReached);
}

void MirrorHttp1::OnOriginLost() {
  link_ = nullptr;
  Finish(MirrorEnd::kLost);
}

ssize_t MirrorHttp1::OnPull(ByteEnd&, const Pieces& into, bool* more) {
  return out_.Pull(into, more);
}

bool MirrorHttp1::Write() {
  Http1Head head;
  request_->head.Read(&head);
  HeadEdits edits;
  const Http1Edit edit = EditOf(head, &edits);
  if (!out_.WriteHead(request_->head.bytes(), request_->head.length(), head, edit)) return false;
  const std::string& body = request_->body;
  const std::string text = out_.Waiting() + body;
  if (!body.empty()) out_.WritePayload(reinterpret_cast<const uint8_t*>(body.data()), body.size());
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (size_t at = 0;;) {
    Http1TrailerSection trailers;
    const Http1Step step = exchange_.FromClient(bytes + at, text.size() - at, false, &head, &trailers);
    at += step.used;
    switch (step.what) {
      case Http1Do::kJudge:
        exchange_.Forward(head);
        break;
      case Http1Do::kPayload:
        break;
      case Http1Do::kEnd:
        return true;
      default:
        return false;
    }
  }
}

void MirrorHttp1::Pump() {
  if (!link_) return;
  if (out_.Flush() != 0) return Lose();
  ByteEnd& end = link_->end();
  while (mirrors_.MayRead()) {
    Pieces pieces;
    const int found = end.Front(&pieces);
    if (found < 0) return Lose();
    if (found == 0) {
      if (end.ended()) Use(true);
      return;
    }
    for (int i = 0; i < pieces.count; i++)
      held_.append(static_cast<const char*>(pieces.list[i].iov_base), pieces.list[i].iov_len);
    end.Drop(pieces.bytes);
    mirrors_.Read(pieces.bytes);
    read_ += pieces.bytes;
    if (read_ > kMostRead) return Stop(MirrorEnd::kAnswered);
    if (!Use(false)) return;
  }
  services_.turn.Again(this);
}

bool MirrorHttp1::Use(bool ended) {
  for (size_t used = 0;;) {
    Http1Head head;
    Http1TrailerSection trailers;
    const auto* const bytes = reinterpret_cast<const uint8_t*>(held_.data());
    const Http1Step step = exchange_.FromServer(bytes + used, held_.size() - used, ended, &head, &trailers);
    used += step.used;
    const bool waits = step.what == Http1Do::kWait && !ended;
    const bool goes_on =
        step.what == Http1Do::kHead || step.what == Http1Do::kPayload || step.what == Http1Do::kDiscard;
    if (goes_on && !step.opaque) continue;
    held_.erase(0, used);
    if (waits) return true;
    step.what == Http1Do::kEnd ? Answered() : Lose();
    return false;
  }
}

void MirrorHttp1::Answered() {
  const bool kept = exchange_.server_goes_on() && out_.waiting() == 0 && held_.empty();
  Turn::Task::Remove();
  OriginLink* const link = std::exchange(link_, nullptr);
  kept ? link->GiveBack() : link->End(true);
  Finish(MirrorEnd::kAnswered);
}

void MirrorHttp1::Leave() {
  Turn::Task::Remove();
  if (OriginLink* const link = std::exchange(link_, nullptr)) link->End(false);
}

}  // namespace orlop
