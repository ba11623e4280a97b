// 10, 11, 14 · data thread · a CONNECT stream, at either side of its session, as an end of bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/byte_queue.h"
#include "engine/core/read_pieces.h"
#include "engine/core/services.h"
#include "engine/http2/h2_stream.h"
#include "engine/tunnel/connect_head.h"

namespace orlop {

class ConnectStream final : public ByteEnd, public H2Stream {
 public:
  // The connection that has the stream. It learns of everything until Start, and of the last two at any time.
  class Owner {
   public:
    // The head of a CONNECT is complete. Payload and its end may follow before the answer.
    virtual void OnConnectRequest() = 0;
    // A status of 200 or above has come for ours.
    virtual void OnConnectResponse() = 0;
    // The peer has broken a rule of CONNECT: its stream is to be reset.
    virtual void OnMisuse(std::string_view how) = 0;
    // Payload came before our answer: whether there is memory to keep it; and that there was none.
    virtual bool HasRoom() = 0;
    virtual void OnNoRoom() = 0;
    virtual void OnStreamClosed(uint32_t code) = 0;
    // The stream moves so much that others of its session wait behind it.
    virtual void OnHeavy() = 0;
    // The session has ended. Not called when both halves were over before.
    virtual void OnSessionLost(CloseCause cause, int detail, std::string_view message) = 0;

   protected:
    ~Owner() = default;
  };

  ConnectStream(const EngineServices& services, Owner& owner)
      : services_(services), owner_(owner), in_(services.buffers.chunks) {}
  ~ConnectStream() { FreePieces(); }
  ConnectStream(const ConnectStream&) = delete;
  ConnectStream& operator=(const ConnectStream&) = delete;

  // Opening.
  // A peer's CONNECT begins.
  void Serve();
  // Sends ours, as `head` has it. False: the session takes no more streams.
  bool Request(H2Session& session);
  // Status 200 starts our half, any other ends the stream.
  void Respond(int status, std::string_view baggage);
  // Our half of a CONNECT that was answered with 200.
  void StartData();
  // From here on `user` has the bytes, and the head is gone.
  void Start(ByteEnd::User& user);

  // Ending.
  // Gives back the window of what nobody will read.
  void GiveBack();
  void ResetWith(uint32_t code);
  // What still comes for it is dropped. It may be used for another CONNECT.
  void Leave();
  // Both halves are over, and no DATA will come.
  bool closed() const { return closed_; }

  // Ours or the peer's; null after Start.
  std::unique_ptr<ConnectHead> head;

  // ByteEnd.
  int Front(Pieces* pieces) override;
  void Drop(size_t length) override;
  ssize_t Read(const Pieces& into) override;
  bool readable() const override { return !in_.empty() || pieces_ || (ended_ && !end_read_); }
  bool ended() const override { return ended_ && in_.empty() && !pieces_; }
  bool pulls() const override { return true; }
  ssize_t Write(const Pieces&) override { return 0; }
  void Wake() override;
  bool writable() const override { return false; }
  void ShutWrite() override { Wake(); }
  bool shut() const override { return closed_; }
  void Reset() override;
  size_t buffered() const override { return in_.size(); }

  // H2Stream.
  void OnField(std::string_view name, std::string_view value) override;
  void OnHead(bool ends) override;
  void OnData(const uint8_t* bytes, size_t length) override;
  void OnDataDone() override;
  void OnEnd() override;
  ssize_t OnRead(const Pieces& into) override;
  void OnClosed(uint32_t code) override;
  void OnLost(CloseCause cause, int detail, std::string_view message) override;

 private:
  void Deliver();
  // Payload that came before the answer.
  void KeepEarly(const uint8_t* bytes, size_t length);
  // Copies what lies in the read's buffer from `skip` on.
  void Keep(size_t skip);
  void FreePieces();
  // Counts payload; lets the owner know when it is much.
  void Weigh(size_t bytes);

  const EngineServices& services_;
  Owner& owner_;
  ByteEnd::User* user_ = nullptr;
  bool server_ = false;
  bool head_seen_ = false;
  bool data_started_ = false;  // our half carries DATA
  bool ended_ = false;         // the peer's END_STREAM came
  bool end_read_ = false;      // and Read or Front has said so
  bool closed_ = false;
  ReadPieces* pieces_ = nullptr;  // received payload, still in the buffer of this read; null: none
  ByteQueue in_;  // and what of it the reader did not take in time, or what came before there was a reader
  uint64_t unweighed_bytes_ = 0;  // moved since weighed_ms_
  uint64_t weighed_ms_ = 0;
};

}  // namespace orlop
