// 16 · data thread · a connection that is read: one request of HTTP/1 after the other, each decided by TypeScript before it goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/events.h"
#include "engine/core/lazy_timer.h"
#include "engine/core/pod_share.h"
#include "engine/core/services.h"
#include "engine/core/slots.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/http/http1_exchange.h"
#include "engine/http/http1_kept_head.h"
#include "engine/http/http1_route.h"
#include "engine/http/http1_side.h"
#include "engine/http/origin_source.h"
#include "engine/http/request_event.h"

namespace orlop {

class Answer;

// How long a caller that has ended its half waits before it is looked after; then twice as long each time.
constexpr uint64_t kHttp1AskCallerMs = 1'000;
// Requests of a connection; their number has 32 bits.
constexpr int32_t kHttp1MostRequests = 1 << 30;

// Between the two ends of a connection in the place of a Relay. Each request has one connection to the application for itself, which is
// the caller's own, or of a connection that is served a link to the origin that its answer names (http1_session_origin.cc): requests of a
// connection are answered in their order, and one after the other. What bytes mean is Http1Exchange's
// to say; the session reads and writes them, asks TypeScript, and keeps time.
class Http1Session final : public ByteEnd::User, public Turn::Task, public PodShare, public OriginLink::User {
 public:
  class User {
   public:
    // What follows is no HTTP any more, and may pass: bytes that were read already have gone on. The ends are the user's again.
    virtual void OnOpaque() = 0;
    // It is HTTP/2: what was read of both ends already. The ends are the user's again.
    virtual void OnHttp2(std::string from_caller, std::string from_application) = 0;
    // Called once. The ends are the user's to close.
    virtual void OnSessionEnded(CloseCause cause, int detail) = 0;

   protected:
    ~User() = default;
  };

  Http1Session(const EngineServices& services, User& user, HttpReading reading);

  // `down` is where the connection came from. Both have this session as their user, and outlive it. `ref` and `pod_idx` name the
  // connection in events.
  void Start(ByteEnd& down, ByteEnd& up, SlotRef ref, uint32_t pod_idx);
  // The same without an application: each request goes where its answer says.
  void Serve(ByteEnd& down, OriginSource& origins, SlotRef ref, uint32_t pod_idx);
  // Behind OnOpaque of a connection that is served: `user` has the bytes of its origin from here on. Null: it is none.
  ByteEnd* StartOrigin(ByteEnd::User& user);
  bool serves() const { return route_ != nullptr; }
  void Pump();
  HttpReading reading() const { return reading_; }
  // `forward`, `reply` or `ask-again`; `pass` or `hold` where a try has failed.
  void OnAnswer(const Answer& answer);
  // The user has ended the connection.
  void Stop(CloseCause cause);

  uint64_t sent() const { return up_.written(); }
  uint64_t received() const { return down_.written(); }
  size_t buffered() const {
    return up_.waiting() + down_.waiting() + counted_ + (route_ ? up_.end->buffered() : 0);
  }

  // ByteEnd::User.
  void OnReady(ByteEnd& end) override;
  void OnArrived(ByteEnd& end) override;
  void OnReset(ByteEnd& end, int code) override;
  ssize_t OnPull(ByteEnd& end, const Pieces& into, bool* more) override;
  // OriginLink::User.
  void OnOriginOpen() override;
  void OnOriginFailed(CloseCause cause, int detail, std::string_view message) override;
  void OnOriginLost() override;
  // Turn::Task.
  void OnAgain() override { Pump(); }
  // PodShare.
  void OnMayRead() override { Pump(); }
  void OnMayGo() override { Ask(); }
  void OnShed(CloseCause cause) override;

 private:
  // What the session waits for.
  enum class Phase : uint8_t {
    kBetween,   // a request
    kHead,      // the rest of a request's head
    kDeciding,  // TypeScript's answer to it
    kOpen,      // request and response, which both go on
    kClosing,   // the caller, who may not have read the last answer yet
    kOpaque,    // what was read already to go on
    kHttp2,     // who reads that
  };

  // Both halves of the caller's stream are over, and not by us: nobody waits for an answer.
  bool IsAbandoned(const ByteEnd& end) const;
  void EndAbandoned() { End(open_ ? CloseCause::kResetByDownstream : CloseCause::kFinished); }

  // Bytes in (http1_session_read.cc).
  // Reads what there is of one side, up to a turn's share. True: some of it was used.
  bool Advance(Http1Side& side);
  bool MayUse(const Http1Side& side) const;
  // So much waits to be written to it that the other side is not read.
  static bool IsFull(const Http1Side& side);
  // Takes what the caller still sends to a connection that has finished, in the middle of a head: its end shows behind that alone.
  void DiscardRest();
  bool ReadsAhead(const Http1Side& side) const;
  // Takes bytes that have come. How many; the rest is the end's to keep.
  size_t Take(Http1Side& side, const uint8_t* bytes, size_t length);
  // Uses what can be used of bytes that lie together. How many.
  size_t Use(Http1Side& side, const uint8_t* bytes, size_t length, bool ended);
  bool UseHeld(Http1Side& side);
  // The first bytes are no HTTP/1, or the application speaks first.
  bool IsOther(const Http1Side& side, const uint8_t* bytes, size_t length);

  // Steps (http1_session_messages.cc). `bytes` are those that the step has used. False: this side cannot go on.
  bool Do(Http1Side& side, const Http1Step& step, const uint8_t* bytes, const Http1Head& head,
          const Http1TrailerSection& trailers);
  void OnWait(Http1Side& side, const uint8_t* bytes, size_t length);
  void OnRequestHead(const uint8_t* bytes, size_t length, const Http1Head& head);
  void OnResponseHead(const uint8_t* bytes, const Http1Step& step, const Http1Head& head);
  void WriteResponse(const uint8_t* bytes, size_t length, Http1Edit edit, bool opaque, const Http1Head& head);
  void OnMessageEnd(Http1Side& from, const Http1Step& step, const uint8_t* section,
                    const Http1TrailerSection& trailers);
  void OnReply(Http1Side& from, const Http1Step& step);
  void OnAbort(Http1Side& from, const Http1Step& step);
  void Finish();

  // Origins (http1_session_origin.cc), of a connection that is served.
  // The head is written: it goes to its origin, and `body` behind it.
  void ForwardToOrigin(const Answer& answer, const Http1Head& head, std::string_view body);
  void TakeLink(LinkUse use);
  // Lets go of the link once its request has ended.
  void SettleLink();
  void DropLink(bool in_order);
  // The link's far end has gone, or is going, in the midst of a request.
  void LoseOrigin();
  // An answer of ours to a request that went on.
  void AnswerForOrigin(uint16_t status, std::string_view body, RequestOutcome outcome, int32_t why,
                       std::string_view message);
  // TypeScript's.
  void ReplyForOrigin(const Answer& answer);
  // The request is answered: the next is read, or none.
  void GoOnBehind(const Http1Refused& refused);
  // A try has failed (http1_session_retry.cc), and its caller has got nothing. Behind KeepFailed the link may be dropped, and TypeScript
  // be asked. False: it is not to be asked, or what went is not at hand.
  bool KeepFailed(TryFailure what, bool sent, AnswerInPlace answer);
  void AskAboutTry();
  // The same of a response that may not count.
  bool HoldsResponse(const uint8_t* bytes, const Http1Step& step, const Http1Head& head);
  void OnAnswerToTry(const Answer& answer);
  // The head of the response that counts is there.
  void NoteAnswer();
  void TryAgain(const Answer& answer);
  // There is no other try.
  void PassTry();
  bool asks_about_try() const { return route_ && route_->failed; }
  // Behind the link: asks, or answers in its place.
  void AfterTry(TryFailure what, bool sent, AnswerInPlace answer);

  void StartRouteDeadline();
  void StartRequestDeadline() { StartDeadlineAt(route_->request_due_ms); }
  void StartDeadlineAt(uint64_t due_ms);
  void OnRouteDeadline();
  // Of the open request. Null: none were asked for.
  MirrorCopies* copies() const { return route_ ? route_->copies.get() : nullptr; }
  void AskForCopy(const Answer& answer);
  bool is_origin(const Http1Side& side) const { return route_ && &side == &up_; }

  // Answers (http1_session_answer.cc).
  // Asks TypeScript about the request, whose head is kept.
  void Ask() const;
  // Its pod has too much open. `bytes` are those of the head.
  void OnOverBudget(const uint8_t* bytes, size_t length);
  void Forward(const Answer& answer);
  // The head as it goes on. False: it cannot, and the connection has ended.
  bool WriteRequest(const Answer& answer, const Http1Head& head, Http1Edit edit);
  void Deny(const Answer& answer);
  void WriteReply(const Answer& answer, Http1Option connection, bool to_head);
  // An answer of ours, behind which the connection ends.
  void AnswerLast(uint16_t status, std::string_view body);
  void WriteAnswer(uint16_t status, Http1Option connection, bool to_head, std::string_view body);
  // The request has ended, and is reported.
  void EndRequest(RequestOutcome outcome, Http1Refusal refusal = Http1Refusal::kNone) {
    if (open_) ReportEnd(outcome, static_cast<int32_t>(refusal), {});
  }
  void ReportEnd(RequestOutcome outcome, int32_t why, std::string_view message);
  // Of a connection that is served: what its origin took for the head of its response.
  int32_t answered_us() const { return route_ ? static_cast<int32_t>(route_->answered_us) : 0; }
  void OnUpFailed();
  // The application's connection is gone, and what it has said was read. Answers that are whole reach the caller as such, and what is there
  // of the last comes before the reset that tells it from a whole answer.
  void LoseApplication(int detail);
  // The answer that has begun ends here, behind what waits.
  void CutAnswer(int detail);
  // The caller has ended its half behind its request, and the application knows. An application that breaks off then has seen its
  // caller leave, as a proxy would that knows no half-closed callers.
  bool caller_left() const {
    return down_.end->ended() && (up_.finished() || (route_ && route_->caller_ended));
  }
  CloseCause cause_of_up() const {
    return caller_left() ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream;
  }
  void BeginRequest();
  // The request has ended; the next may come.
  void AwaitRequest();
  // Also its memory: a connection may be idle for long.
  void ForgetHead() { head_.Forget(); }
  // What is no HTTP/1 after all (http1_session_pass.cc).
  // From here on the connection is relayed, as it is where nobody is denied whatever it says.
  void Pass();
  // The same behind a refusal of what this side said.
  void PassFrom(Http1Side& from);
  void PassHeld();
  void PassIfFlushed();
  void HandOver();
  // It speaks first, and its caller has asked in HTTP/1.
  void OnHttp2Application();

  // Both sides get the end behind what waits for them. The caller has the time to read it.
  void Close();
  void FinishIfDone();
  // Keeps the buffers' account of what is held outside of queues.
  void CountHeld();
  void OnDeadline();
  void Deadline(uint64_t ms) { deadline_.Start(ms); }
  void AwaitMovement();
  // The same of a caller that takes what an application said that is gone.
  void AwaitTaker();
  // The caller has ended its half, waits for an answer, and would get no byte that is not a response's of ours.
  bool AwaitsAnswerOfOurs() const {
    return phase_ == Phase::kOpen && status_ == 0 && !answers_ && caller_left() &&
           reading_ != HttpReading::kOrPass;
  }
  // Whether such a caller is still there shows by a byte that its kernel takes, or resets.
  void AskCaller();
  uint64_t moved() const { return up_.written() + down_.written() + up_.payload(); }
  void End(CloseCause cause, int detail = 0);

  const EngineServices& services_;
  User& user_;
  RequestsOf of_;
  Http1Exchange exchange_;
  Http1Side down_;
  Http1Side up_;
  HttpReading reading_;
  Phase phase_ = Phase::kBetween;
  bool running_ = false;
  bool pumping_ = false;
  bool failing_ = false;       // the application has reset it, behind bytes that may still be read
  bool cut_ = false;           // the application is gone in the midst of an answer, of which a part waits
  bool finishes_ = false;      // both sides have said all
  bool lingers_ = false;       // the last answer has gone, and the caller has not ended
  bool answers_ = false;       // a head of the open request's response has begun, and is not whole
  bool request_done_ = false;  // the body of the open request has ended
  bool open_ = false;          // a request has begun, and has not ended
  bool upgraded_ = false;      // the last request was one for a websocket, and has it
  int32_t number_ = 0;
  int status_ = 0;
  Http1KeptHead head_;  // while the request is open: it may be asked about again
  uint64_t began_us_ = 0;
  size_t counted_ = 0;       // bytes of heads that the buffers know of
  uint64_t discarded_ = 0;   // bytes of a caller behind the last answer
  uint64_t last_moved_ = 0;  // at the last look of the deadline
  LazyTimer deadline_;
  Timer ask_caller_;
  std::unique_ptr<Http1Route> route_;  // of a connection that is served
};

}  // namespace orlop
