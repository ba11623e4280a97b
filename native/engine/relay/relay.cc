// 14 · data thread · bytes between a connection's two sides: copied once, counted, FIN for FIN, RST for RST.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "engine/core/engine.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

// Reads of one direction per turn: 1 MiB, then others have their chance.
constexpr int kReadsPerTurn = 4;
constexpr uint64_t kAfterResetMs = 1'000;
// A stream that moves so much so fast, twice in a row, keeps its tunnel's buffers full.
constexpr uint64_t kHeavyBytes = 4 << 20;
constexpr uint64_t kHeavyMs = 250;

}  // namespace

void SocketEnd::OnReady(uint32_t events) {
  connection_.OnSocketReady(*this, events);
}

void Connection::OnSocketReady(SocketEnd& end, uint32_t events) {
  if (phase_ == Phase::kEnded || !end.fd) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) end.readable = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) end.hup = true;
  if (phase_ == Phase::kConnecting && &end == &up_) {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    const int error = ConnectResult(end.fd.get(), events);
    if (error != 0) return Finish(CloseCause::kConnectFailed, error);
    return OnConnected();
  }
  if (phase_ != Phase::kOpen) {
    if (events & (EPOLLERR | EPOLLHUP)) Finish(CloseCause::kResetByDownstream);
    return;
  }
  if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) end.writable = true;
  // Read what came before the reset, but do not wait for a peer that takes nothing. SO_ERROR is not asked:
  // that would clear it, and the reset would then read as a FIN.
  if (events & EPOLLERR) {
    end.error = true;
    Deadline(kAfterResetMs);
  }
  Pump();
}

void Connection::Pump() {
  if (phase_ != Phase::kOpen) return;
  if (stream.id >= 0) return PumpStream();
  bool more = Move(down_, up_, sent_);
  if (phase_ == Phase::kOpen) more |= Move(up_, down_, received_);
  if (phase_ != Phase::kOpen) return;
  FinishIfDone();
  if (more && phase_ == Phase::kOpen) engine_.Again(this);
}

// One direction between two sockets. True: there is more than this turn's share.
bool Connection::Move(SocketEnd& from, SocketEnd& to, uint64_t& counter) {
  if (!to.out.empty() && !WriteOut(to, counter)) return false;
  uint8_t* const bytes = engine_.scratch().read;
  for (int reads = 0; reads < kReadsPerTurn; reads++) {
    if (from.eof) {
      ShutIfDrained(to);
      return false;
    }
    if (!from.readable) return false;
    const ssize_t got = recv(from.fd.get(), bytes, Scratch::kRead, 0);
    if (got == 0) {
      from.eof = true;
      continue;
    }
    if (got < 0) {
      if (errno == EINTR) continue;
      from.readable = false;
      if (errno != EAGAIN) ResetBy(from, errno);
      return false;
    }
    // A short read has emptied the socket: an edge will tell of more. Not so when the end is already there.
    if (static_cast<size_t>(got) < Scratch::kRead && !from.hup) from.readable = false;
    ssize_t sent = send(to.fd.get(), bytes, static_cast<size_t>(got), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) {
        ResetBy(to, errno);
        return false;
      }
      sent = 0;
    }
    counter += static_cast<uint64_t>(sent);
    if (sent < got) {
      to.writable = false;
      to.out.Append(bytes + sent, static_cast<size_t>(got - sent));
      return false;
    }
  }
  return from.readable || from.eof;
}

// What a socket did not take earlier. True: all of it is out.
bool Connection::WriteOut(SocketEnd& end, uint64_t& counter) {
  while (!end.out.empty()) {
    if (!end.writable) return false;
    iovec pieces[16];
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = static_cast<size_t>(end.out.Front(pieces, 16));
    const ssize_t sent = sendmsg(end.fd.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      end.writable = false;
      if (errno != EAGAIN) ResetBy(end, errno);
      return false;
    }
    CountMoved(counter, static_cast<size_t>(sent));
    end.out.Drop(static_cast<size_t>(sent));
    if (stream.tunnel) stream.tunnel->h2().ConsumedKept(stream.id, static_cast<size_t>(sent));
  }
  return true;
}

void Connection::ShutIfDrained(SocketEnd& end) {
  if (end.shut || !end.out.empty()) return;
  end.shut = true;
  shutdown(end.fd.get(), SHUT_WR);
}

void Connection::FinishIfDone() {
  if (phase_ != Phase::kOpen) return;
  const bool done =
      stream.id >= 0 ? stream_closed_ && app().shut : down_.eof && up_.eof && down_.shut && up_.shut;
  if (done) Finish(CloseCause::kFinished);
}

void Connection::ResetBy(const SocketEnd& end, int error) {
  Finish(&end == &down_ ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream, error);
}

// --- a socket and a stream -------------------------------------------------------------------

void Connection::PumpStream() {
  SocketEnd& end = app();
  if (broken_ != 0) return ResetBy(end, broken_);
  uint64_t& delivered = server_stream_ ? sent_ : received_;
  if (!end.out.empty()) WriteOut(end, delivered);
  if (phase_ != Phase::kOpen) return;
  if (stream.ended) ShutIfDrained(end);
  FinishIfDone();
  if (phase_ != Phase::kOpen) return;
  if (end.readable && !end.eof && stream.data_started && !stream_closed_ && stream.tunnel) {
    stream.tunnel->h2().Ready(stream);
    stream.tunnel->MarkDirty();
  }
}

ssize_t Connection::ReadForStream(uint8_t* into, size_t capacity) {
  SocketEnd& end = app();
  if (!end.readable || !end.fd) return -EAGAIN;
  ssize_t got;
  do {
    got = recv(end.fd.get(), into, capacity, 0);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    CountMoved(server_stream_ ? received_ : sent_, static_cast<size_t>(got));
    if (static_cast<size_t>(got) < capacity && !end.hup) end.readable = false;
    return got;
  }
  end.readable = false;
  if (got == 0) {
    end.eof = true;
    return 0;
  }
  if (errno != EAGAIN) broken_ = errno;
  return -errno;
}

void Connection::CountMoved(uint64_t& counter, size_t bytes) {
  counter += bytes;
  if (stream.id < 0 || !stream.tunnel || sent_ + received_ < weighed_bytes_ + kHeavyBytes) return;
  weighed_bytes_ = sent_ + received_;
  const uint64_t now = engine_.now_ms();
  if (weighed_ms_ != 0 && now - weighed_ms_ <= kHeavyMs) stream.tunnel->CarriesHeavy();
  weighed_ms_ = now;
}

void Connection::QueueIfReadable() {
  const SocketEnd& end = app();
  if (end.readable && !end.eof && stream.tunnel) stream.tunnel->h2().Ready(stream);
}

void Connection::OnStreamData(const uint8_t* bytes, size_t length) {
  auto* const start = const_cast<uint8_t*>(bytes);
  if (stream.piece_count > 0) {
    iovec& last = stream.pieces[stream.piece_count - 1];
    if (static_cast<uint8_t*>(last.iov_base) + last.iov_len == start) {
      last.iov_len += length;
      return;
    }
  }
  if (stream.piece_count == 8) FlushStreamData();
  if (phase_ != Phase::kOpen) return;
  stream.pieces[stream.piece_count++] = {start, length};
}

// The pieces of one tunnel read, in one call; what the socket does not take waits in chunks, and its window
// with it.
void Connection::FlushStreamData() {
  if (phase_ != Phase::kOpen || stream.piece_count == 0) return;
  SocketEnd& end = app();
  const int count = stream.piece_count;
  stream.piece_count = 0;
  size_t sent = 0;
  if (end.out.empty() && end.writable) {
    msghdr message{};
    message.msg_iov = stream.pieces;
    message.msg_iovlen = static_cast<size_t>(count);
    const iovec& first = stream.pieces[0];
    // A single small message is the common case, and a plain send a fifth cheaper.
    const ssize_t result = count == 1 ? send(end.fd.get(), first.iov_base, first.iov_len, MSG_NOSIGNAL)
                                      : sendmsg(end.fd.get(), &message, MSG_NOSIGNAL);
    if (result >= 0) {
      sent = static_cast<size_t>(result);
    } else if (errno != EAGAIN && errno != EINTR) {
      stream.piece_count = count;  // Finish gives their window back
      return ResetBy(end, errno);
    }
  }
  CountMoved(server_stream_ ? sent_ : received_, sent);
  if (sent > 0 && stream.tunnel) stream.tunnel->h2().Consumed(stream.id, sent);
  for (int i = 0; i < count; i++) {
    const size_t skip = std::min(sent, stream.pieces[i].iov_len);
    sent -= skip;
    if (skip == stream.pieces[i].iov_len) continue;
    end.writable = false;
    end.out.Append(static_cast<uint8_t*>(stream.pieces[i].iov_base) + skip, stream.pieces[i].iov_len - skip);
    if (stream.tunnel) stream.tunnel->h2().Kept(stream.pieces[i].iov_len - skip);
  }
}

void Connection::OnStreamEnd() {
  stream.ended = true;
  if (phase_ != Phase::kOpen) return;
  FlushStreamData();
  if (phase_ != Phase::kOpen) return;
  ShutIfDrained(app());
  FinishIfDone();
}

}  // namespace orlop
