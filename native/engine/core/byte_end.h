// 14 · data thread · one end of a connection, for those that read and write its bytes: a socket or a CONNECT stream.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "engine/core/pieces.h"

namespace orlop {

// An end is read in two ways: Front shows the bytes where they are, and Drop says how many were taken; Read copies them.
// It is written in two ways as well. A socket is pushed to, with Write. A stream pulls: it is woken when there are bytes for it,
// and asks its user for them when its session makes a frame, so that they are read straight to where the frame is sealed.
class ByteEnd {
 public:
  // Who reads and writes an end.
  class User {
   public:
    // The end has bytes, room, or its own end to report. Called when any of these may have changed.
    virtual void OnReady(ByteEnd& end) = 0;
    // The same for bytes and the end alone, when they lie in a buffer of this turn: what is not taken now is copied.
    virtual void OnArrived(ByteEnd& end) { OnReady(end); }
    // The far side reset it: errno for a socket, error code for a stream. Nothing more comes or goes.
    virtual void OnReset(ByteEnd& end, int code) = 0;
    // Bytes for an end that pulls. 0: there will be no more. -EAGAIN: not now; Wake says when. Any other: -errno. `*more`: there is
    // something left, so that no Wake is needed.
    virtual ssize_t OnPull(ByteEnd& end, const Pieces& into, bool* more) = 0;

   protected:
    ~User() = default;
  };

  // Reading.
  // What lies in front. 1: *pieces has it, and Drop follows before anything else is done with the end. 0: nothing now, see ended().
  // Negative: -errno.
  virtual int Front(Pieces* pieces) = 0;
  // The first `length` bytes of Front were taken. The end keeps the rest.
  virtual void Drop(size_t length) = 0;
  // Bytes copied. 0: ended. -EAGAIN: nothing now. Any other: -errno.
  virtual ssize_t Read(const Pieces& into) = 0;
  // Front or Read may give something, or the end that was not seen yet.
  virtual bool readable() const = 0;
  // The far side ended its half, and everything before that was read.
  virtual bool ended() const = 0;

  // The far side has reset it, behind bytes that may still be read. Read or Front says so when they are used up.
  virtual bool failing() const { return false; }

  // Writing.
  // True: bytes go through OnPull. False: through Write.
  virtual bool pulls() const = 0;
  // How many of the bytes it took. 0: full, OnReady says when there is room. Negative: -errno.
  virtual ssize_t Write(const Pieces& pieces) = 0;
  // There are bytes, or the end, for an end that pulls.
  virtual void Wake() = 0;
  // Write may take something.
  virtual bool writable() const = 0;
  // Nothing more will be written. An end that pulls learns it from OnPull instead, and is only woken.
  virtual void ShutWrite() = 0;
  // The far side has been sent that, or has closed.
  virtual bool shut() const = 0;

  // Both.
  // Ends both halves at once and lets the far side know. What was not read or written is dropped. User::OnReset is not called.
  virtual void Reset() = 0;
  // Bytes that it holds in memory.
  virtual size_t buffered() const = 0;

 protected:
  ~ByteEnd() = default;
};

}  // namespace orlop
