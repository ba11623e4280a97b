// data thread · one side of a connection of HTTP/2: its session of frames, the bytes that wait to be written, and its budget.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "engine/core/byte_end.h"
#include "engine/core/byte_queue.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/http2/budget.h"
#include "engine/http2/h2_handler.h"
#include "engine/http2/h2_session.h"
#include "engine/http2/toll.h"

namespace orlop {

class H2cSide final : public H2Handler {
 public:
  class User {
   public:
    // The caller begins a request. Null refuses it.
    virtual H2Stream* OnRequest() = 0;
    // It takes no further requests, or sends none.
    virtual void OnGoaway(H2cSide& side) = 0;
    // There are bytes for it, or a stream of its has gone.
    virtual void OnWork() = 0;
    // It may be read again.
    virtual void OnMayReadSide() = 0;

   protected:
    ~User() = default;
  };
  enum class Got : uint8_t {
    kNothing,  // more to come
    kMore,     // of what is there, another turn has time for the rest
    kEnded,    // it has ended its half, and all before that was read
    kBroken,   // what it sends is no HTTP/2, or too much of it
    kFailed,   // see error()
  };

  H2cSide(const EngineServices& services, User& user);
  H2cSide(const H2cSide&) = delete;
  H2cSide& operator=(const H2cSide&) = delete;

  // `first`: bytes of it that were read already. False: out of memory.
  bool Open(Role role, ByteEnd& end, std::string first);
  // What it sends, up to a turn's share.
  Got Receive();
  // What that has cost since this was last asked, in units of the toll.
  uint32_t TakeWork() { return std::exchange(work_, 0); }
  // Bytes that are dropped, behind the last frame that counts. False: none come any more.
  bool Discard();
  int error() const { return error_; }
  // It was reset behind what its end still holds: Receive says so once that is read.
  void NoteReset(int code) {
    reset_ = true;
    error_ = code;
  }
  // It takes nothing more; what it has said before is still read.
  bool mute() const { return mute_; }
  // Frames into the end. 0, or an errno of the end. An application's reset is none: answers may lie before it, so that Receive has it.
  int Flush();
  // For an end that pulls, as ByteEnd::User::OnPull.
  ssize_t Pull(const Pieces& into, bool* more);
  // GOAWAY for a violation, and the end behind it.
  void Farewell();
  // It gets the end behind what waits.
  void Finish() { fin_ = true; }
  void Stop();

  ByteEnd& end() { return *end_; }
  H2Session& frames() { return h2_; }
  bool waits_to_write() const { return !out_.empty(); }
  // With the frames that wait in nghttp2.
  size_t waiting() const { return out_.size() + first_.size() + counted_; }
  uint64_t written() const { return written_; }
  // It has said something, and its SETTINGS have not come.
  bool is_other() const { return heard_ && !h2_.settings_received(); }
  // It has gone on to cause more than its budget although it was slowed.
  bool abuses() const { return abuses_; }

  // H2Handler.
  H2Stream* OnRequest() override { return user_.OnRequest(); }
  void OnGoaway() override { user_.OnGoaway(*this); }
  void OnStreamGone() override { user_.OnWork(); }
  void OnOutput() override { user_.OnWork(); }

 private:
  // False: what it sends is no HTTP/2.
  bool Use(const uint8_t* bytes, size_t length, size_t* used);
  Got Read();
  void HeedToll();
  int Produce();
  int WriteOut();
  // What the session has of the heap by now.
  void CountFrames(size_t bytes);

  const EngineServices& services_;
  User& user_;
  Budget budget_;
  Toll toll_;
  H2Session h2_;
  ByteEnd* end_ = nullptr;
  std::string first_;
  ByteQueue out_;
  uint64_t written_ = 0;
  uint32_t work_ = 0;
  size_t counted_ = 0;  // bytes of frames that the buffers know of
  int error_ = 0;
  bool is_server_ = false;
  bool opened_ = false;
  bool heard_ = false;
  bool fin_ = false;
  bool silent_ = false;  // this side writes no more frames and reads none
  bool mute_ = false;    // it writes none, and reads
  bool reset_ = false;
  bool abuses_ = false;
  bool held_back_ = false;  // a caller is not read before it has read
  Timer slow_;              // until then it is not read
};

}  // namespace orlop
