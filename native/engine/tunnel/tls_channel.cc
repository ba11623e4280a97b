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
  uint8_t* const records = services_.buffers.scratch().records;
  size_t length = held_.size();
  if (length == 0 || torn_) {
    if (!readable_) return Fetched::kNothing;
    // The begin of a record counts, so that the buffer ends where records of full length do.
    const size_t wanted = most - std::min(length, most / 2);
    ssize_t got;
    do {
      got = recv(fd_.get(), records + length, wanted, 0);
    } while (got < 0 && errno == EINTR);
    if (got <= 0) {
      *error = got < 0 ? errno : 0;
      readable_ = false;
      return *error == EAGAIN ? Fetched::kNothing : Fetched::kEnded;
    }
    // A short read has emptied the socket: an edge announces more. Not so when the end is already there.
    if (static_cast<size_t>(got) < wanted && !hup_) readable_ = false;
    length += static_cast<size_t>(got);
  }
  if (!held_.empty()) memcpy(records, held_.data(), held_.size());
  held_ = {};
  tls_.Feed(records, length);
  return Fetched::kRecords;
}

void TlsChannel::Hold(bool torn) {
  held_ = tls_.TakeRest();
  torn_ = torn;
}

bool TlsChannel::Seal(PartedRoom* room) {
  const bool sealed = tls_.Write(room);
  sealed_ = room->Record(0);
  sealed_length_ = room->sealed();
  return sealed;
}

bool TlsChannel::Send() {
  Scratch& scratch = services_.buffers.scratch();
  const size_t made = std::exchange(scratch.cipher_length, 0);
  const size_t sealed = std::exchange(sealed_length_, 0);
  return SendBytes(scratch.cipher_out, made) && SendBytes(sealed_, sealed);
}

bool TlsChannel::SendBytes(const uint8_t* bytes, size_t length) {
  if (length == 0 || broken_ != 0) return true;
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
