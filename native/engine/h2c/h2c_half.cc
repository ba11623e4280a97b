// data thread · a half of a request: frames to the queue, and the queue to frames of the other half's session. A window is given
// back when its payload has gone on, so that neither side sends more than the other takes.
#include "engine/h2c/h2c_half.h"

#include <cerrno>

#include "engine/h2c/h2c_head.h"

namespace orlop {

H2cHalf::H2cHalf(ChunkPool& chunks, Owner& owner, H2cHalf& other)
    : owner_(owner), other_(other), in_(chunks) {
  refuses_bad_fields = true;
  stops_peer = Stops::kNever;
}

// Sending.

bool H2cHalf::Ask(H2Session& session, const std::vector<H2Field>& fields, bool ends) {
  // The application may reset what it likes.
  answered = true;
  sends_ = !ends;
  finished_ = ends;
  const H2Session::Body body = ends ? H2Session::Body::kNone : H2Session::Body::kNow;
  if (!session.Request(this, fields.data(), fields.size(), body)) return false;
  Go();
  return true;
}

void H2cHalf::Answer(const std::vector<H2Field>& fields, bool ends) {
  if (session() == nullptr || closed_) return;
  answered = true;
  sends_ = !ends;
  finished_ = ends;
  session()->Respond(this, fields.data(), fields.size(), !ends);
  Go();
}

void H2cHalf::Inform(const std::vector<H2Field>& fields) {
  if (session() != nullptr && !closed_) session()->Inform(this, fields.data(), fields.size());
}

void H2cHalf::StopPeer() {
  stops_peer = Stops::kAlways;
  if (finished_ && !closed_ && session() != nullptr) session()->Reset(this, NGHTTP2_NO_ERROR);
}

void H2cHalf::Feed(std::string_view text) {
  DropPayload();
  in_.Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  ended_ = true;
}

void H2cHalf::DropPayload() {
  if (session() != nullptr && !in_.empty()) session()->ConsumedKept(this, in_.size());
  in_.Clear();
  fields_.Clear();
  drops_ = true;
}

void H2cHalf::Leave(uint32_t code) {
  if (session() == nullptr) return;
  if (!closed_) session()->Reset(this, code);
  // What waits is the session's no longer.
  if (!in_.empty()) session()->ConsumedKept(this, in_.size());
  session()->Forget(this);
  closed_ = true;
}

// From the session.

void H2cHalf::OnHead(bool ends) {
  if (!head_taken_) {
    owner_.OnHead(*this, ends);
    fields_.Clear();
    return;
  }
  const Http1Refusal refusal = CheckH2cTrailers(fields_);
  if (refusal != Http1Refusal::kNone) owner_.OnBadTrailers(*this, refusal);
}

void H2cHalf::OnData(const uint8_t* bytes, size_t length) {
  if (drops_) return session()->Consumed(this, length);
  session()->Kept(length);
  in_.Append(bytes, length);
  owner_.OnMoved();
  other_.Go();
}

void H2cHalf::OnEnd() {
  ended_ = true;
  other_.Go();
}

ssize_t H2cHalf::OnRead(const Pieces& into) {
  return other_.Give(into, *this);
}

ssize_t H2cHalf::Give(const Pieces& into, H2cHalf& to) {
  if (!in_.empty()) {
    const size_t got = in_.Read(into);
    gone_on_ += got;
    if (session() != nullptr) session()->ConsumedKept(this, got);
    if (!in_.empty() || ended_) to.session()->Ready(&to);
    owner_.OnMoved();
    return static_cast<ssize_t>(got);
  }
  if (!ended_) return -EAGAIN;
  if (fields_.count() > 0) Trail(to);
  to.finished_ = true;
  return 0;
}

void H2cHalf::Trail(H2cHalf& to) {
  std::vector<H2Field> fields;
  fields.reserve(fields_.count());
  for (size_t i = 0; i < fields_.count(); i++) fields.push_back(fields_.At(i));
  to.session()->Trail(&to, fields.data(), fields.size());
  fields_.Clear();
}

void H2cHalf::OnClosed(uint32_t code) {
  closed_ = true;
  owner_.OnClosed(*this, code);
}

}  // namespace orlop
