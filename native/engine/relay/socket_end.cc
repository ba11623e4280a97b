// 14 · data thread · reading and writing a TCP socket.
#include "engine/relay/socket_end.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace orlop {

bool SocketEnd::Adopt(Descriptor fd) {
  fd_ = std::move(fd);
  return fd_.Watch(services_.loop, this);
}

void SocketEnd::CloseOpen(bool reset) {
  reset ? fd_.CloseWithReset() : fd_.Close();
  readable_ = writable_ = false;
  in_.Clear();
}

void SocketEnd::OnReady(uint32_t events) {
  if (!fd_) return;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & EPOLLPRI) urgent_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    hup_ = true;
    if (events & (EPOLLHUP | EPOLLERR)) failed_ = true;
    if (events & EPOLLERR) error_ = true;
  }
  user_->OnReady(*this);
}

inline ssize_t SocketEnd::Receive(const Pieces& into) {
  const iovec& first = *into.list;
  const size_t wanted = much_ ? into.bytes : first.iov_len;
  ssize_t got;
  do {
    if (wanted == first.iov_len) {
      // A single small message is the common case, and a plain recv cheaper.
      got = recv(fd_.get(), first.iov_base, wanted, 0);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(into.list);
      message.msg_iovlen = static_cast<size_t>(into.count);
      got = recvmsg(fd_.get(), &message, 0);
    }
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    much_ = static_cast<size_t>(got) >= first.iov_len;
    // A short read has emptied the socket: an edge announces more. Not so when the end is already there, and a read stops in
    // front of an urgent byte.
    if (static_cast<size_t>(got) < wanted && !hup_ && !urgent_) readable_ = false;
    return got;
  }
  readable_ = false;
  if (got == 0) {
    eof_ = true;
    return 0;
  }
  return -errno;
}

int SocketEnd::Front(Pieces* pieces) {
  Scratch& scratch = services_.buffers.scratch();
  if (!in_.empty()) {
    pieces->list = scratch.pieces;
    pieces->count = in_.Front(scratch.pieces, Scratch::kPieces);
    pieces->bytes = 0;
    for (int i = 0; i < pieces->count; i++) pieces->bytes += scratch.pieces[i].iov_len;
    return 1;
  }
  if (!readable_ || eof_) return 0;
  scratch.pieces[0] = {scratch.read, Scratch::kRead};
  const ssize_t got = Receive({scratch.pieces, 1, Scratch::kRead});
  if (got <= 0) return got == -EAGAIN ? 0 : static_cast<int>(got);
  scratch.pieces[0].iov_len = static_cast<size_t>(got);
  *pieces = {scratch.pieces, 1, static_cast<size_t>(got)};
  return 1;
}

void SocketEnd::Drop(size_t length) {
  if (!in_.empty()) return in_.Drop(length);
  const iovec& read = services_.buffers.scratch().pieces[0];
  if (length < read.iov_len) in_.Append(static_cast<uint8_t*>(read.iov_base) + length, read.iov_len - length);
}

ssize_t SocketEnd::Read(const Pieces& into) {
  if (!in_.empty()) return static_cast<ssize_t>(in_.Read(into));
  if (eof_) return 0;
  if (!readable_) return -EAGAIN;
  return Receive(into);
}

ssize_t SocketEnd::Write(const Pieces& pieces) {
  if (!writable_) return 0;
  ssize_t sent;
  do {
    if (pieces.count == 1) {
      // A single small message is the common case, and a plain send a fifth cheaper.
      sent = send(fd_.get(), pieces.list->iov_base, pieces.list->iov_len, MSG_NOSIGNAL);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(pieces.list);
      message.msg_iovlen = static_cast<size_t>(pieces.count);
      sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    }
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) {
    writable_ = false;
    return errno == EAGAIN ? 0 : -errno;
  }
  if (static_cast<size_t>(sent) < pieces.bytes) writable_ = false;
  return sent;
}

void SocketEnd::ShutWrite() {
  if (shut_) return;
  shut_ = true;
  shutdown(fd_.get(), SHUT_WR);
}

}  // namespace orlop
