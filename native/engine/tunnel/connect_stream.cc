// 10, 11, 14 · data thread · a CONNECT stream: its head, then its bytes, and the window that belongs to them.
#include "engine/tunnel/connect_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "engine/http2/h2_session.h"

namespace orlop {
namespace {

// A stream counts as heavy when it has moved so many bytes within this time, twice in a row: it can keep its tunnel's buffers full.
constexpr uint64_t kHeavyBytes = 4 << 20;
constexpr uint64_t kHeavyMs = 250;

}  // namespace

// Opening.

void ConnectStream::Serve() {
  server_ = true;
  head = std::make_unique<ConnectHead>();
}

bool ConnectStream::Request(H2Session& session) {
  std::array<H2Field, 5> fields{{{":method", "CONNECT"}, {":authority", head->authority}}};
  size_t count = 2;
  if (!head->baggage.empty()) fields[count++] = {"baggage", head->baggage};
  if (!head->forwarded.empty()) fields[count++] = {"forwarded", head->forwarded};
  if (!head->traceparent.empty()) fields[count++] = {"traceparent", head->traceparent};
  closed_ = false;
  return session.Request(this, fields.data(), count, H2Session::Body::kLater);
}

void ConnectStream::Respond(int status, std::string_view baggage) {
  // Three digits: 200, or what the agent's answers and deadlines give.
  const char code[3] = {static_cast<char>('0' + status / 100 % 10), static_cast<char>('0' + status / 10 % 10),
                        static_cast<char>('0' + status % 10)};
  const std::array<H2Field, 2> fields{{{":status", {code, sizeof code}}, {"baggage", baggage}}};
  data_started_ = status == 200;
  session()->Respond(this, fields.data(), baggage.empty() ? 1 : 2, data_started_);
}

void ConnectStream::StartData() {
  data_started_ = true;
  session()->StartData(this);
}

void ConnectStream::Start(ByteEnd::User& user) {
  const bool is_first = user_ == nullptr;
  user_ = &user;
  if (!is_first) return;
  answered = true;
  takes_fields = false;
  head.reset();
  if (session() && !in_.empty()) session()->Kept(in_.size());
}

// Ending.

void ConnectStream::GiveBack() {
  if (session()) {
    if (!in_.empty()) {
      user_ ? session()->ConsumedKept(this, in_.size()) : session()->Consumed(this, in_.size());
    }
    if (pieces_) session()->Consumed(this, pieces_->bytes);
  }
  in_.Clear();
  FreePieces();
}

void ConnectStream::FreePieces() {
  if (pieces_) services_.buffers.pieces.Give(pieces_);
  pieces_ = nullptr;
}

void ConnectStream::ResetWith(uint32_t code) {
  if (session()) session()->Reset(this, code);
}

void ConnectStream::Reset() {
  GiveBack();
  if (!closed_) ResetWith(NGHTTP2_CONNECT_ERROR);
  Leave();
}

void ConnectStream::Leave() {
  if (session()) session()->Forget(this);
}

// Reading.

int ConnectStream::Front(Pieces* pieces) {
  if (!in_.empty()) {
    iovec* const list = services_.buffers.scratch().pieces;
    pieces->list = list;
    pieces->count = in_.Front(list, Scratch::kPieces);
    pieces->bytes = 0;
    for (int i = 0; i < pieces->count; i++) pieces->bytes += list[i].iov_len;
    return 1;
  }
  if (!pieces_) {
    end_read_ = ended_;
    return 0;
  }
  *pieces = {pieces_->list, pieces_->count, pieces_->bytes};
  return 1;
}

void ConnectStream::Drop(size_t length) {
  Weigh(length);
  if (!in_.empty()) {
    in_.Drop(length);
    if (session() && length > 0) session()->ConsumedKept(this, length);
    return;
  }
  if (length > 0) session()->Consumed(this, length);
  if (length < pieces_->bytes) return Keep(length);
  FreePieces();
}

ssize_t ConnectStream::Read(const Pieces& into) {
  if (!in_.empty()) {
    const size_t read = in_.Read(into);
    Weigh(read);
    if (session()) session()->ConsumedKept(this, read);
    return static_cast<ssize_t>(read);
  }
  if (!pieces_) {
    if (!ended_) return -EAGAIN;
    end_read_ = true;
    return 0;
  }
  const size_t read = CopyPieces({pieces_->list, pieces_->count, pieces_->bytes}, into);
  Drop(read);
  return static_cast<ssize_t>(read);
}

void ConnectStream::Keep(size_t skip) {
  for (int i = 0; i < pieces_->count; i++) {
    const iovec& piece = pieces_->list[i];
    const size_t skipped = std::min(skip, piece.iov_len);
    skip -= skipped;
    const size_t kept = piece.iov_len - skipped;
    if (kept == 0) continue;
    in_.Append(static_cast<uint8_t*>(piece.iov_base) + skipped, kept);
    session()->Kept(kept);
  }
  FreePieces();
}

void ConnectStream::Weigh(size_t bytes) {
  unweighed_bytes_ += bytes;
  if (unweighed_bytes_ < kHeavyBytes || !session()) return;
  unweighed_bytes_ = 0;
  const uint64_t now = services_.clock.now_ms();
  if (weighed_ms_ != 0 && now - weighed_ms_ <= kHeavyMs) owner_.OnHeavy();
  weighed_ms_ = now;
}

// Writing.

void ConnectStream::Wake() {
  if (data_started_ && !closed_ && session()) session()->Wake(this);
}

ssize_t ConnectStream::OnRead(const Pieces& into) {
  bool more = false;
  const ssize_t got = user_->OnPull(*this, into, &more);
  if (got <= 0) return got;
  Weigh(static_cast<size_t>(got));
  if (more && session()) session()->Ready(this);
  return got;
}

// From the session.

void ConnectStream::OnField(std::string_view name, std::string_view value) {
  server_ ? head->SetOfRequest(name, value) : head->SetOfResponse(name, value);
}

void ConnectStream::OnHead(bool) {
  // Nothing but DATA follows the heads of a CONNECT (RFC 9113 8.5).
  if (!takes_fields || head_seen_) return owner_.OnMisuse("a second HEADERS on a CONNECT");
  if (!server_) {
    if (head->status >= 200) owner_.OnConnectResponse();
    return;
  }
  head_seen_ = true;
  owner_.OnConnectRequest();
}

void ConnectStream::OnData(const uint8_t* bytes, size_t length) {
  if (!user_) return KeepEarly(bytes, length);
  auto* const start = const_cast<uint8_t*>(bytes);
  if (!pieces_) {
    pieces_ = services_.buffers.pieces.Take();
  } else {
    iovec& last = pieces_->list[pieces_->count - 1];
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == start) {
      last.iov_len += length;
      pieces_->bytes += length;
      return;
    }
  }
  pieces_->bytes += length;
  pieces_->list[pieces_->count++] = {start, length};
  if (pieces_->count == ReadPieces::kMost) Deliver();
}

// Clients need not wait for the answer. What they send waits here, within the window that a stream has until then, of which they get
// nothing back before.
void ConnectStream::KeepEarly(const uint8_t* bytes, size_t length) {
  if (server_ && owner_.HasRoom()) return in_.Append(bytes, length);
  session()->Consumed(this, length);
  server_ ? owner_.OnNoRoom() : owner_.OnMisuse("DATA before the answer");
}

void ConnectStream::OnDataDone() {
  if (pieces_) Deliver();
}

// What waits already keeps its place in front, so the reader is not asked again.
void ConnectStream::Deliver() {
  if (in_.empty()) user_->OnArrived(*this);
  if (pieces_) Keep(0);
}

void ConnectStream::OnEnd() {
  ended_ = true;
  if (user_) Deliver();
}

void ConnectStream::OnClosed(uint32_t code) {
  closed_ = true;
  if (!user_) return owner_.OnStreamClosed(code);
  // What has ended stays whole: ztunnel and others say CANCEL or NO_ERROR of the half that they no longer read. Without its END_STREAM it is
  // cut, whatever the code (RFC 9113 section 8.5): an end would make the part that came look whole.
  // With another code what was for it has not reached anybody.
  if (ended_ && (code == NGHTTP2_NO_ERROR || code == NGHTTP2_CANCEL)) return OnEnd();
  // What came with the reset in one read came before it.
  if (pieces_) Deliver();
  user_->OnReset(*this, static_cast<int>(code));
}

void ConnectStream::OnLost(CloseCause cause, int detail, std::string_view message) {
  // Everything had arrived: what is left is only to be written out.
  if (!closed_) owner_.OnSessionLost(cause, detail, message);
}

}  // namespace orlop
