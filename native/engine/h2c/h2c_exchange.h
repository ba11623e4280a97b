// 16 · data thread · one request of HTTP/2 from its head to its end: asked about, sent on, answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/events.h"
#include "engine/core/pod_share.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/h2c/h2c_half.h"
#include "engine/h2c/h2c_route.h"
#include "engine/http/http1_kept_head.h"
#include "engine/http/http1_write.h"
#include "engine/http/request_event.h"

namespace orlop {

class Answer;

class H2cExchange final : public PodShare, public Turn::Mortal, public H2cHalf::Owner, public StreamWaiter {
 public:
  class Owner {
   public:
    // A head is whole: the number of its request on the connection.
    virtual int32_t OnRequestHead() = 0;
    // Null: the application has gone, or takes no more requests.
    virtual H2Session* Application() = 0;
    // Of a connection that is served, in its place. Null: it has an application.
    virtual OriginSource* Origins() = 0;
    // The exchange is over, and is deleted with the turn.
    virtual void OnExchangeEnded(H2cExchange& exchange) = 0;

   protected:
    ~Owner() = default;
  };

  // `place` is the owner's to use.
  H2cExchange(const EngineServices& services, Owner& owner, const RequestsOf& of, HttpReading reading,
              size_t place);
  size_t place;

  // The caller's stream.
  H2Stream* stream() { return &caller_; }
  // 0: its head is not whole.
  int32_t number() const { return number_; }
  // `forward` or `reply`, for its number; `pass` or `hold` where a try has failed.
  void OnAnswer(const Answer& answer);
  // Something has changed that an open request was judged by.
  void AskAgain();
  // The application has gone.
  void LoseApplication(RequestOutcome outcome, Http1Refusal why);
  // A caller that has ended its half of the connection sends no more of it.
  void LoseCaller();
  // With the connection.
  void Stop(RequestOutcome outcome);

  // Bytes of payload.
  uint64_t sent() const { return caller_.gone_on(); }
  size_t buffered() const { return caller_.waiting() + app_.waiting() + counted_; }

  // H2cHalf::Owner.
  void OnHead(H2cHalf& half, bool ends) override;
  void OnTrailers(H2cHalf& half) override;
  void OnBadTrailers(H2cHalf& half, Http1Refusal refusal) override;
  void OnMoved() override { CountHeld(); }
  void OnClosed(H2cHalf& half, uint32_t code) override;
  void OnLost(H2cHalf& half, CloseCause cause, int detail, std::string_view message) override;
  // StreamWaiter.
  void OnOriginSession(H2Session& session) override;
  void OnNoOriginSession(CloseCause cause, int detail, std::string_view message) override;
  // PodShare.
  void OnShed(CloseCause cause) override;
  void OnMayRead() override {}
  void OnMayGo() override;

 private:
  enum class Phase : uint8_t {
    kHead,      // of the request
    kDeciding,  // TypeScript's answer to it
    kOpen,      // it went on
    kAsking,    // TypeScript's answer to a try that has failed
    kReplied,   // an answer of ours goes to the caller
    kEnded,
  };

  void OnRequest(bool ends);
  void OnResponse(bool ends);
  void Forward(const Answer& answer);
  // As it came.
  void ForwardUnasked();
  void SendOn(const Http1Head& head, const Http1Edit& edit);
  // Origins (h2c_exchange_origin.cc), of a connection that is served.
  void ForwardToOrigin(const Answer& answer);
  void AskForCopy(const Answer& answer);
  void OnQueuedTooLong();
  void RespondFromOrigin(std::vector<H2Field>* block, int status, bool ends);
  // A response that may not count. False: it does.
  bool HoldsResponse(const std::vector<H2Field>& block, int status, bool ends);
  // Its stream, before it has answered whole.
  void OnOriginReset(uint32_t code);
  // A try has failed, and its caller has got nothing: TypeScript is to be asked. False: not, or what went is not at hand.
  bool KeepFailed(TryFailure what, bool sent, AnswerInPlace answer);
  // Asks, or answers in its place.
  void AfterTry(TryFailure what, bool sent, AnswerInPlace answer);
  void AnswerInItsPlace(const AnswerInPlace& answer);
  void AskAboutTry();
  void OnAnswerToTry(const Answer& answer);
  // There is no other try.
  void PassTry();
  void StartRouteDeadline();
  void StartDeadlineAt(uint64_t due_ms);
  // The deadline of this try has come, or does in so many milliseconds, whether its timer has fired or not.
  bool IsDue(uint64_t soon_ms = 0) const;
  void OnRouteDeadline();
  // A call of gRPC whose response has begun: its caller gets what has come, and reads DEADLINE_EXCEEDED behind it.
  void EndCallAtDeadline();
  int32_t answered_us() const { return route_ ? static_cast<int32_t>(route_->answered_us) : 0; }

  void Deny(const Answer& answer);
  // An answer of ours: to a call of gRPC as its status, and otherwise as text.
  void Reply(int status, std::string_view body, const Http1Pair* pairs, size_t pair_count);
  void ReplyText(int status, std::string_view body) { Reply(status, body, nullptr, 0); }
  void Refuse(Http1Refusal refusal);
  // Both streams end; the caller's with this code.
  void Cut(uint32_t code, RequestOutcome outcome, int32_t why = 0);
  // Fields of the application's, with which its answer may end.
  void NoteGrpcStatus(const H2cFields& fields);
  // Code of a reset that policy asks for.
  uint32_t denied_code() const;
  void Report(RequestOutcome outcome, int32_t why, std::string_view message = {});
  void EndIfDone();
  // The caller has all of the response, and its stream is over: nobody but the application has to do with the request any more.
  bool is_served() const { return caller_.closed() && caller_.finished() && app_.ended(); }
  // What the application has not taken of the request by now is not sent to it.
  void Abandon();
  void End(uint32_t code);
  void CountHeld();
  void OnDeadline();
  // Looks so much later whether anything has moved.
  void WatchMovement(uint64_t ms);
  uint64_t moved() const { return caller_.gone_on() + app_.gone_on(); }

  // Payload that waits and does not move.
  static constexpr uint64_t kStalledMs = 300'000;
  // The same where the caller is served.
  static constexpr uint64_t kLeftOverMs = 10'000;

  const EngineServices& services_;
  Owner& owner_;
  const RequestsOf of_;
  const HttpReading reading_;
  H2cHalf caller_;
  H2cHalf app_;
  Phase phase_ = Phase::kHead;
  bool reported_ = false;
  bool is_grpc_ = false;
  int8_t grpc_status_ = -1;  // of a call of gRPC; -1: nobody has said it
  bool to_head_ = false;
  bool is_https_ = false;  // by what the caller says
  int32_t number_ = 0;
  int status_ = 0;
  uint64_t began_us_;
  uint64_t last_moved_ = 0;  // at the last look of the deadline
  Http1KeptHead head_;       // while the request is open: it may be asked about again
  size_t counted_ = 0;
  Timer deadline_;
  std::unique_ptr<H2cRoute> route_;  // of a connection that is served
};

}  // namespace orlop
