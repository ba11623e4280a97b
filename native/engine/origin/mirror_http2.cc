// 22 · data thread · a copy of a request of HTTP/2: asked as a stream of its own, its response dropped as it comes.
#include "engine/origin/mirror_http2.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/h2c/h2c_head.h"
#include "engine/http/head_edits.h"
#include "engine/origin/mirrors.h"

namespace orlop {

MirrorHttp2::MirrorHttp2(const EngineServices& services, Mirrors& mirrors,
                         std::shared_ptr<const MirroredRequest> request, MirrorTarget target)
    : MirrorExchange(services, mirrors, std::move(request), std::move(target)) {
  takes_fields = false;
  // Its far end may reset what it likes.
  answered = true;
}

void MirrorHttp2::Go() {
  mirrors_.origins().AwaitStream(target_.origin, pod_idx(), *this);
}

void MirrorHttp2::OnOriginSession(H2Session& session) {
  Http1Head head;
  request_->head.Read(&head);
  HeadEdits edits;
  const Http1Edit edit = EditOf(head, &edits);
  const bool ends = request_->body.empty();
  H2cBlock block;
  if (!WriteH2cRequest(request_->head.bytes(), head, edit, request_->is_https ? "https" : "http", &block) ||
      !session.Request(this, block.fields.data(), block.fields.size(),
                       ends ? H2Session::Body::kNone : H2Session::Body::kNow))
    return Finish(MirrorEnd::kNotReached);
  if (!ends) session.Wake(this);
}

void MirrorHttp2::OnNoOriginSession(CloseCause, int, std::string_view) {
  Finish(MirrorEnd::kNotReached);
}

ssize_t MirrorHttp2::OnRead(const Pieces& into) {
  const std::string& body = request_->body;
  size_t got = 0;
  for (int i = 0; i < into.count && sent_ < body.size(); i++) {
    const size_t part = std::min(body.size() - sent_, into.list[i].iov_len);
    memcpy(into.list[i].iov_base, body.data() + sent_, part);
    sent_ += part;
    got += part;
  }
  // Behind the last byte comes the end, which is asked for as bytes are.
  if (got > 0) session()->Ready(this);
  return static_cast<ssize_t>(got);
}

void MirrorHttp2::OnData(const uint8_t*, size_t length) {
  session()->Consumed(this, length);
  read_ += length;
  // Not here: nghttp2 has the stream in its hands.
  if (read_ > kMostRead) services_.turn.Again(this);
}

void MirrorHttp2::OnClosed(uint32_t code) {
  session()->Forget(this);
  Turn::Task::Remove();
  Finish(code == NGHTTP2_NO_ERROR         ? MirrorEnd::kAnswered
         : code == NGHTTP2_REFUSED_STREAM ? MirrorEnd::kNotReached
                                          : MirrorEnd::kLost);
}

void MirrorHttp2::OnLost(CloseCause, int, std::string_view) {
  Turn::Task::Remove();
  Finish(MirrorEnd::kLost);
}

void MirrorHttp2::Leave() {
  Turn::Task::Remove();
  StopWaiting();
  if (session() == nullptr) return;
  session()->Reset(this, NGHTTP2_CANCEL);
  session()->Forget(this);
}

}  // namespace orlop
