// 10, 11 · data thread · a socket with a TLS session on it: records in and opened, bytes sealed and out, one call to the kernel
// for many.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core/byte_queue.h"
#include "engine/core/descriptor.h"
#include "engine/core/services.h"
#include "engine/core/turn.h"
#include "engine/tunnel/tls_session.h"

namespace orlop {

class TlsChannel {
 public:
  // `task` is put off to the next turn when writing has failed.
  TlsChannel(const EngineServices& services, Turn::Task& task)
      : services_(services), task_(task), out_(services.buffers.chunks) {}

  // The socket.
  // False: out of memory.
  bool Adopt(Descriptor fd, Pollable* pollable);
  int fd() const { return fd_.get(); }
  bool open() const { return static_cast<bool>(fd_); }
  // What epoll said of it.
  void Note(uint32_t events);
  // An accepted socket may be written before epoll has said so.
  void SetWritable() { writable_ = true; }
  bool readable() const { return readable_ || (!held_.empty() && !torn_); }
  // errno of a write. What the peer said before it left (an alert, a GOAWAY) is the better reason, so it is read first.
  int broken() const { return broken_; }
  // Sealed bytes wait for the socket, which has room.
  bool CanFlush() const { return !out_.empty() && writable_; }
  bool full() const { return !out_.empty(); }
  // `orderly`: with a close_notify. `reset`: with a RST.
  void Close(bool orderly, bool reset);

  // Reading.
  enum class Fetched { kRecords, kNothing, kEnded };
  // Reads a buffer of records, at most `most` bytes, for the session to read. kEnded: *error is errno, or 0 for a FIN.
  Fetched Fetch(size_t most, int* error);
  // The first byte of what was fetched.
  uint8_t first_byte() const { return services_.buffers.scratch().records[0]; }
  // What was fetched and not read is given by Fetch again: as it is, or, when the session wants more, in front of what comes.
  void Hold() { Hold(false); }
  void HoldTorn() { Hold(true); }

  // TLS.
  TlsSession& tls() { return tls_; }
  // Seals what is in the room, which stays until it is sent. False: TLS failed.
  bool Seal(PartedRoom* room);
  // Sends what was sealed and what else TLS has made; what the socket does not take waits. False: the socket is broken.
  bool Send();
  // Sends what waits. False: some of it still does.
  bool Flush();

 private:
  void Broke(int error);
  void Hold(bool torn);
  bool SendBytes(const uint8_t* bytes, size_t length);
  const EngineServices& services_;
  Turn::Task& task_;
  Descriptor fd_;
  bool readable_ = false;
  bool writable_ = false;
  bool hup_ = false;  // FIN, RST or error waits behind the bytes
  int broken_ = 0;
  TlsSession tls_;
  std::vector<uint8_t> held_;
  bool torn_ = false;  // held_ is the begin of a record
  const uint8_t* sealed_ = nullptr;
  size_t sealed_length_ = 0;
  ByteQueue out_;
};

}  // namespace orlop
