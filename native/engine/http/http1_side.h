// 16 · data thread · one side of a connection that is read: what it said and nobody used yet, and what waits to be written to it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/byte_queue.h"
#include "engine/http/http1_head.h"
#include "engine/http/http1_write.h"

namespace orlop {

class Http1Side {
 public:
  explicit Http1Side(ChunkPool& chunks) : out_(chunks) {}

  ByteEnd* end = nullptr;
  // Bytes of it that came and were not used: the beginning of a head, of a chunk line or of trailers, or what is there ahead of its time.
  std::string held;
  // More bytes are needed to use those that are held; else it is the other side's turn.
  bool waits = false;

  // Messages to it. `bytes` are those that `head` was read from. False: the edit is none that can be written.
  bool WriteHead(const uint8_t* bytes, size_t length, const Http1Head& head, const Http1Edit& edit);
  // Payload of the message whose head was written last, framed as that head says.
  void WritePayload(const uint8_t* bytes, size_t length);
  void WriteEnd(const uint8_t* section, const Http1TrailerSection& trailers);
  // Of a body in chunks, without trailers and the empty line.
  void WriteLastChunkLine();
  void WriteReply(const Http1Reply& reply);
  // The next byte that every response begins with. The head or reply that follows is written without it. False: there is none left.
  bool WriteAhead();
  // Bytes that were written so.
  size_t ahead() const { return ahead_; }
  void WriteRaw(std::string_view text);
  // What is written of the message's body from here on is kept as well, while it is no more than this.
  void KeepBody(size_t most);
  // A part of the body that was kept of another message.
  void WriteKept(std::string_view body) {
    WriteBody(reinterpret_cast<const uint8_t*>(body.data()), body.size());
  }
  // Whether all of it was kept. What is kept is nobody's behind this.
  bool TakeKept(std::string* body);
  size_t kept() const { return kept_.capacity() > std::string().capacity() ? kept_.capacity() : 0; }
  void ForgetKept();
  // It gets the end behind what waits.
  void Finish() { fin_ = true; }
  bool finished() const { return fin_; }
  // Drops what waits to be written.
  void DropWaiting() { out_.Clear(); }
  // The same, what is held, and what is kept.
  void Clear();
  // Also its memory.
  void ForgetHeld() { std::string().swap(held); }

  // Bytes out. 0, or an errno of the end. An end that pulls is only woken.
  int Flush();
  // For an end that pulls, as ByteEnd::User::OnPull.
  ssize_t Pull(const Pieces& into, bool* more);

  // A copy of what waits, of little.
  std::string Waiting() const;
  // All of what waits, which waits no more.
  std::string TakeWaiting();
  size_t waiting() const { return out_.size(); }
  // Bytes that were given to the end.
  uint64_t written() const { return written_; }
  // Payload of the message whose head was written last, or began last.
  uint64_t payload() const { return payload_; }
  void ForgetPayload() { payload_ = 0; }

 private:
  void WriteBody(const uint8_t* bytes, size_t length);
  void Keep(const uint8_t* bytes, size_t length);

  ByteQueue out_;
  std::string kept_;
  size_t most_kept_ = 0;                        // 0: nothing is kept, or there was more
  Http1Framing framing_ = Http1Framing::kNone;  // of the message whose head was written last
  size_t ahead_ = 0;
  bool fin_ = false;
  uint64_t written_ = 0;
  uint64_t payload_ = 0;
};

}  // namespace orlop
