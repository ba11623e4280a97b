// data thread · a half of a request: frames to the queue, and the queue to frames of the other half's session. A window is given
// back when its payload has gone on, so that neither side sends more than the other takes.
#include "engine/h2c/h2c_half.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "engine/core/arena.h"
#include "engine/h2c/h2c_head.h"

namespace orlop {
namespace {

// With a small chunk in front, and parts of chunks at either end.
constexpr int kCopiedChunks = ORLOP_MOST_MIRRORED / Chunk::kSize + 3;

}  // namespace

H2cHalf::H2cHalf(ChunkPool& chunks, Owner& owner, H2cHalf& other)
    : owner_(owner), other_(other), in_(chunks) {
  refuses_bad_fields = true;
  stops_peer = Stops::kNever;
}

// Anew.

void H2cHalf::Begin() {
  in_.Clear();
  fields_.Clear();
  head_taken_ = drops_ = sends_ = ended_ = finished_ = closed_ = trailed_ = false;
}

void H2cHalf::KeepGone(size_t most) {
  // What has gone on unkept is not to be had any more.
  most_kept_ = gone_on_ == kept_.size() ? most : 0;
  if (most_kept_ == 0) std::string().swap(kept_);
}

bool H2cHalf::Rewind() {
  if (!may_rewind()) return false;
  again_.replace(0, again_at_, kept_);
  again_at_ = 0;
  gone_on_ = 0;
  kept_.clear();
  return true;
}

void H2cHalf::CopyTo(MirrorCopies& copies) {
  copies_ = &copies;
  // More than these hold is more than a copy may have.
  iovec list[kCopiedChunks];
  const int count = in_.Front(list, kCopiedChunks);
  size_t copied = 0;
  for (int i = 0; i < count; i++) {
    copies.Add(static_cast<const uint8_t*>(list[i].iov_base), list[i].iov_len);
    copied += list[i].iov_len;
  }
  if (copied < in_.size()) copies.Drop(MirrorEnd::kTooLarge);
  if (ended_) copies.Whole();
}

void H2cHalf::Keep(const Pieces& gone, size_t length) {
  if (most_kept_ == 0) return;
  if (kept_.size() + length > most_kept_) return KeepGone(0);
  for (int i = 0; i < gone.count && length > 0; i++) {
    const size_t part = std::min(length, gone.list[i].iov_len);
    kept_.append(static_cast<const char*>(gone.list[i].iov_base), part);
    length -= part;
  }
}

size_t H2cHalf::GiveAgain(const Pieces& into) {
  size_t got = 0;
  for (int i = 0; i < into.count && again_at_ < again_.size(); i++) {
    const size_t part = std::min(again_.size() - again_at_, into.list[i].iov_len);
    memcpy(into.list[i].iov_base, again_.data() + again_at_, part);
    again_at_ += part;
    got += part;
  }
  if (again_at_ < again_.size()) return got;
  std::string().swap(again_);
  again_at_ = 0;
  return got;
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
  if (end_sent() && !closed_ && session() != nullptr) session()->Reset(this, NGHTTP2_NO_ERROR);
}

void H2cHalf::Feed(std::string_view text) {
  DropPayload();
  in_.Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  ended_ = true;
}

void H2cHalf::EndWith(const std::vector<H2Field>& trailers) {
  fields_.Clear();
  for (const H2Field& field : trailers) fields_.Add(field.name, field.value);
  ended_ = true;
  other_.Go();
}

void H2cHalf::DropPayload() {
  if (session() != nullptr && !in_.empty()) session()->ConsumedKept(this, in_.size());
  in_.Clear();
  std::string().swap(again_);
  again_at_ = 0;
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
  if (refusal != Http1Refusal::kNone) return owner_.OnBadTrailers(*this, refusal);
  owner_.OnTrailers(*this);
}

void H2cHalf::OnData(const uint8_t* bytes, size_t length) {
  if (drops_) return session()->Consumed(this, length);
  session()->Kept(length);
  in_.Append(bytes, length);
  if (copies_) copies_->Add(bytes, length);
  owner_.OnMoved();
  other_.Go();
}

void H2cHalf::OnEnd() {
  ended_ = true;
  if (copies_) copies_->Whole();
  other_.Go();
}

ssize_t H2cHalf::OnRead(const Pieces& into) {
  return other_.Give(into, *this);
}

ssize_t H2cHalf::Give(const Pieces& into, H2cHalf& to) {
  if (waiting() > 0) {
    const bool again = !again_.empty();
    const size_t got = again ? GiveAgain(into) : in_.Read(into);
    gone_on_ += got;
    Keep(into, got);
    if (!again && session() != nullptr) session()->ConsumedKept(this, got);
    if (waiting() > 0 || ended_) to.session()->Ready(&to);
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
  trailed_ = true;
  fields_.Clear();
}

void H2cHalf::OnLost(CloseCause cause, int detail, std::string_view message) {
  closed_ = true;
  owner_.OnLost(*this, cause, detail, message);
}

void H2cHalf::OnClosed(uint32_t code) {
  closed_ = true;
  owner_.OnClosed(*this, code);
}

}  // namespace orlop
