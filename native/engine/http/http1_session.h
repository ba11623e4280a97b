// 16 · data thread · a connection that is read: one request of HTTP/1 after the other, each decided by TypeScript before it goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/byte_queue.h"
#include "engine/core/events.h"
#include "engine/core/services.h"
#include "engine/core/slots.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/http/http1_body_copy.h"
#include "engine/http/http1_head.h"

namespace orlop {

class Answer;

// Between the two ends of a connection in the place of a Relay. Each request has one connection to the application for itself, which is
// the caller's own: requests of a connection are answered in their order, and one after the other.
class Http1Session final : public ByteEnd::User, public Turn::Task {
 public:
  class User {
   public:
    // What follows is no HTTP any more, and may pass: bytes that were read already have gone on. The ends are the user's again.
    virtual void OnOpaque() = 0;
    // Called once. The ends are the user's to close.
    virtual void OnSessionEnded(CloseCause cause, int detail) = 0;

   protected:
    ~User() = default;
  };

  Http1Session(const EngineServices& services, User& user, HttpReading reading);

  // `down` is where the connection came from. Both have this session as their user, and outlive it. `ref` and `pod_idx` name the
  // connection in events.
  void Start(ByteEnd& down, ByteEnd& up, SlotRef ref, uint32_t pod_idx);
  void Pump();
  // `forward`, `reply` or `ask-again`.
  void OnAnswer(const Answer& answer);
  // The user has ended the connection.
  void Stop(CloseCause cause);

  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }
  size_t buffered() const;

  // ByteEnd::User.
  void OnReady(ByteEnd& end) override;
  void OnArrived(ByteEnd& end) override { OnReady(end); }
  void OnReset(ByteEnd& end, int code) override;
  ssize_t OnPull(ByteEnd& end, uint8_t* into, size_t capacity, bool* more) override;
  // Turn::Task.
  void OnAgain() override { Pump(); }

 private:
  enum class Request : uint8_t { kHead, kDeciding, kBody, kDraining, kDone };
  enum class Response : uint8_t { kNone, kHead, kBody, kDone };
  // Reads what there is of one end, up to this turn's share.
  void Read(ByteEnd& from, bool from_down);
  bool WantsMore(bool from_down) const;
  // How many of the bytes it took; `*stop`: nothing more can be taken now.
  size_t TakeRequest(const uint8_t* bytes, size_t length, bool* stop);
  size_t TakeResponse(const uint8_t* bytes, size_t length, bool* stop);
  // Collects a head in `held`; its length once it is all there, else 0. `*taken`: bytes that were added.
  static size_t TakeHead(std::string* held, size_t* scanned, const uint8_t* bytes, size_t length,
                         size_t* taken);
  void OnRequestHead(size_t length);
  void OnResponseHead(size_t length);
  void OnEnd(bool from_down);
  void Emit() const;
  void Forward(std::string_view target);
  void Reply(int status, std::string_view body);
  // A request that cannot be read: the last of its connection.
  void Refuse(Http1Refusal refusal);
  // An answer of ours. `close`: nothing follows it.
  void Respond(int status, std::string_view body, bool close);
  void BadResponse(Http1Refusal refusal);
  // The first bytes are no HTTP/1, or the application spoke first.
  void OnOther(CloseCause cause);
  // From here on the connection is relayed, as it is where nobody is denied whatever it says.
  void Pass();
  // The request has ended; the next may follow.
  void EndRequest(RequestOutcome outcome, int refusal = 0);
  void NextIfDone();
  void ForgetBodies();
  // Keeps the buffers' account of what is held outside of queues.
  void CountHeads();
  // Ends both halves when what waits has gone.
  void Close();
  // The same behind an answer that the caller may not have read while it still sends: closing at once would reset the answer away.
  void Linger();
  // Gives what waits to the ends.
  void Flush();
  void FlushTo(ByteEnd& to, ByteQueue& out, bool fin, uint64_t* counter);
  void PassIfFlushed();
  void OnDeadline();
  void Deadline(uint64_t ms) { services_.timers.Start(&deadline_, ms); }
  void End(CloseCause cause, int detail = 0);

  const EngineServices& services_;
  User& user_;
  HttpReading reading_;
  ByteEnd* down_ = nullptr;
  ByteEnd* up_ = nullptr;
  SlotRef ref_;
  uint32_t pod_idx_ = 0;
  bool running_ = false;
  bool pumping_ = false;
  bool opaque_ = false;  // passes when what waits has gone
  bool lingers_ = false;
  bool failing_ = false;  // the application has reset it
  bool replied_ = false;
  bool fin_up_ = false;  // when what waits has gone
  bool fin_down_ = false;
  bool open_ = false;  // a request has begun, and has not ended
  Request request_ = Request::kHead;
  Response response_ = Response::kNone;
  int32_t number_ = 0;
  int status_ = 0;
  std::string held_;  // of the head that is being read
  std::string held_response_;
  size_t scanned_ = 0;
  size_t scanned_response_ = 0;
  std::unique_ptr<Http1Head> head_;  // of the request while it is decided; its bytes are in `held_`
  std::string facts_;                // what the event had, while the request is open
  size_t facts_ends_[3] = {0, 0, 0};
  bool is_head_ = false;  // the method is HEAD
  bool upgrades_ = false;
  bool upgraded_ = false;
  bool persistent_ = true;
  Http1BodyCopy request_body_;
  Http1BodyCopy response_body_;
  ByteQueue to_up_;
  ByteQueue to_down_;
  uint64_t began_us_ = 0;
  size_t counted_ = 0;      // bytes of heads and facts that the buffers know of
  uint64_t moved_ = 0;      // at the last look of the deadline
  uint64_t discarded_ = 0;  // while it lingers
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  Timer deadline_;
};

}  // namespace orlop
