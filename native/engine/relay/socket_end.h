// 14 · data thread · a TCP socket as an end of bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/byte_end.h"
#include "engine/core/byte_queue.h"
#include "engine/core/descriptor.h"
#include "engine/core/pollable.h"
#include "engine/core/services.h"

namespace orlop {

class SocketEnd final : public ByteEnd, public Pollable {
 public:
  SocketEnd(const EngineServices& services, ByteEnd::User& user)
      : services_(services), user_(&user), in_(services.buffers.chunks) {}
  SocketEnd(const SocketEnd&) = delete;
  SocketEnd& operator=(const SocketEnd&) = delete;

  // False: out of memory.
  bool Adopt(Descriptor fd);
  void Start(ByteEnd::User& user) { user_ = &user; }
  // An accepted socket may be written before epoll has said so.
  void SetWritable() { writable_ = true; }
  int fd() const { return fd_.get(); }
  // epoll has reported EPOLLERR or EPOLLHUP.
  bool failed() const { return failed_; }
  // `reset`: with a RST, otherwise with a FIN. What waits in memory is dropped.
  void Close(bool reset) {
    if (fd_) CloseOpen(reset);
  }

  // ByteEnd.
  int Front(Pieces* pieces) override;
  void Drop(size_t length) override;
  ssize_t Read(const Pieces& into) override;
  bool readable() const override { return !in_.empty() || (readable_ && !eof_); }
  bool ended() const override { return eof_ && in_.empty(); }
  // SO_ERROR is not asked: that would clear it, and the reset would then read as a FIN.
  bool failing() const override { return error_; }
  bool pulls() const override { return false; }
  ssize_t Write(const Pieces& pieces) override;
  void Wake() override {}
  bool writable() const override { return writable_; }
  void ShutWrite() override;
  bool shut() const override { return shut_; }
  void Reset() override { Close(true); }
  size_t buffered() const override { return in_.size(); }

  // Pollable.
  void OnReady(uint32_t events) override;

 private:
  void CloseOpen(bool reset);
  // recv(2), with what it says about the socket: bytes, 0 for the end, -EAGAIN, or another -errno.
  ssize_t Receive(const Pieces& into);
  const EngineServices& services_;
  ByteEnd::User* user_;
  Descriptor fd_;
  bool readable_ = false;
  bool writable_ = false;
  bool hup_ = false;     // FIN, RST or error waits behind the bytes: read until it shows
  bool urgent_ = false;  // the far side has sent urgent data (MSG_OOB)
  bool failed_ = false;
  bool error_ = false;
  bool eof_ = false;   // the peer's FIN was read
  bool shut_ = false;  // our FIN was sent
  bool much_ = false;  // the last read has filled its first piece
  ByteQueue in_;       // what the reader did not take of a Front
};

}  // namespace orlop
