// 10, 11 · data thread · bytes between a socket and a TLS session.
#include "engine/tunnel/tls_channel.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace orlop {

bool TlsChannel::Adopt(Descriptor fd, Pollable* pollable) {
  fd_ = std::move(fd);
  return fd_.Watch(services_.loop, pollable);
}

void TlsChannel::Note(uint32_t events) {
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) hup_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
}

void TlsChannel::Close(bool orderly, bool reset) {
  if (!fd_) return;
  if (orderly && tls_.opened()) tls_.Shutdown();
  // Also the alert of a session that has failed. The buffer is every tunnel's: what stays in it would go out as bytes of the next.
  Scratch& scratch = services_.buffers.scratch();
  const size_t length = std::exchange(scratch.cipher_length, 0);
  if (length > 0 && out_.empty()) send(fd_.get(), scratch.cipher_out, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  reset ? fd_.CloseWithReset() : fd_.Close();
}

TlsChannel::Fetched TlsChannel::Fetch(size_t most, int* error) {
  Scratch& scratch = services_.buffers.scratch();
  size_t length = held_.size();
  if (length > 0) {
    memcpy(scratch.read, held_.data(), length);
    held_ = {};
  } else {
    if (!readable_) return Fetched::kNothing;
    ssize_t got;
    do {
      got = recv(fd_.get(), scratch.read, most, 0);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
      *error = got < 0 ? errno : 0;
      readable_ = false;
      return *error == EAGAIN ? Fetched::kNothing : Fetched::kEnded;
    }
    length = static_cast<size_t>(got);
    // A short read has emptied the socket: an edge announces more. Not so when the end is already there.
    if (length < most && !hup_) readable_ = false;
  }
  tls_.Feed(scratch.read, length);
  return Fetched::kRecords;
}

bool TlsChannel::Send() {
  Scratch& scratch = services_.buffers.scratch();
  size_t length = scratch.cipher_length;
  scratch.cipher_length = 0;
  if (length == 0 || broken_ != 0) return true;
  const uint8_t* bytes = scratch.cipher_out;
  if (out_.empty() && writable_) {
    const ssize_t sent = send(fd_.get(), bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      Broke(errno);
      return false;
    }
    bytes += std::max<ssize_t>(sent, 0);
    length -= static_cast<size_t>(std::max<ssize_t>(sent, 0));
  }
  if (length > 0) {
    writable_ = false;
    out_.Append(bytes, length);
  }
  return true;
}

bool TlsChannel::Flush() {
  while (!out_.empty()) {
    if (!writable_) return false;
    iovec pieces[16];
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = static_cast<size_t>(out_.Front(pieces, 16));
    const ssize_t sent = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      writable_ = false;
      if (errno != EAGAIN) Broke(errno);
      return false;
    }
    out_.Drop(static_cast<size_t>(sent));
  }
  return true;
}

void TlsChannel::Broke(int error) {
  broken_ = error;
  readable_ = true;
  services_.turn.Again(&task_);
}

}  // namespace orlop
