// any thread · a descriptor that an engine owns: counted against the process's limit, and taken out of epoll before it is closed.
#pragma once

#include <cstdint>

namespace orlop {

class Loop;
class Pollable;

// The keeper lends sockets and may hold its copy of one for longer than the engine. close(2) alone would then
// leave the socket in the epoll set, with the address of an object that is gone. So this is the only place in
// native/engine that calls close(2); test/repository/architecture.test.ts holds the rest to it. A socket that this process has
// accepted has no copy: its close(2) is the last, and takes it out of the set (epoll(7), questions and answers).
class Descriptor {
 public:
  Descriptor() = default;
  // Takes ownership. Negative: none.
  explicit Descriptor(int fd);
  // The same for what accept(2) has just returned, and nobody duplicates.
  static Descriptor Accepted(int fd);
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) Close();
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // Loop::Watch and Loop::WatchShared. `loop` outlives this. False: the kernel has no memory.
  bool Watch(const Loop& loop, Pollable* pollable);
  bool WatchShared(const Loop& loop, Pollable* pollable);
  // A TCP peer receives a FIN, unless bytes were left unread.
  void Close();
  // A TCP peer receives a RST; what was not sent yet is dropped.
  void CloseWithReset();

 private:
  int fd_ = -1;
  bool sole_ = false;           // no other process can hold a copy
  const Loop* loop_ = nullptr;  // in whose set it is
};

// What two more descriptors, which is what a connection needs, would leave of RLIMIT_NOFILE. Less than a tenth is short: new connections
// are then shed, so that admin, keeper and logs still work. Less than three tenths is scarce.
enum class Descriptors : uint8_t { kPlenty, kScarce, kShort };
Descriptors DescriptorsLeft();
// What the engines of this process own, all threads together.
int64_t OpenDescriptors();

}  // namespace orlop
