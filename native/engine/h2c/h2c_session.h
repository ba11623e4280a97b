// 16 · data thread · a connection of HTTP/2 that is read: each of its streams is a request, decided by TypeScript before it goes on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/byte_end.h"
#include "engine/core/events.h"
#include "engine/core/pod_share.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/h2c/h2c_exchange.h"
#include "engine/h2c/h2c_side.h"
#include "engine/http/request_event.h"

namespace orlop {

// Between the two ends of a connection in the place of a Relay. Toward the caller it is a server, toward the application a client; a
// connection of the caller has a connection to the application for itself. What a stream says is H2cExchange's; the session has the two
// connections, their budgets and their ends.
class H2cSession final : public ByteEnd::User,
                         public Turn::Task,
                         public Turn::Flushable,
                         public PodShare,
                         public H2cSide::User,
                         public H2cExchange::Owner {
 public:
  class User {
   public:
    // Called once. The ends are the user's to close.
    virtual void OnSessionEnded(CloseCause cause, int detail) = 0;

   protected:
    ~User() = default;
  };

  H2cSession(const EngineServices& services, User& user, HttpReading reading, const RequestsOf& of);

  // Both ends have this session as their user, and outlive it. What was read of them already comes first.
  void Start(ByteEnd& caller, ByteEnd& application, std::string from_caller, std::string from_application);
  // The same without an application: each request goes where its answer says.
  void Serve(ByteEnd& caller, OriginSource& origins, std::string from_caller);
  void OnAnswer(const Answer& answer);
  // No further requests are taken: the connection ends when its last has.
  void Retire();
  // The user has ended the connection.
  void Stop(CloseCause cause);

  uint64_t sent() const { return app_.written() + sent_; }
  uint64_t received() const { return caller_.written(); }
  size_t buffered() const;

  // ByteEnd::User.
  void OnReady(ByteEnd& end) override;
  void OnArrived(ByteEnd& end) override;
  void OnReset(ByteEnd& end, int code) override;
  ssize_t OnPull(ByteEnd& end, const Pieces& into, bool* more) override;
  // Turn::Task, Turn::Flushable.
  void OnAgain() override {
    if (services_.shares.MayRead(this)) Pump();
  }
  void Flush() override;
  // PodShare.
  void OnMayRead() override { Pump(); }
  void OnMayGo() override {}
  void OnShed(CloseCause cause) override { End(cause); }
  // H2cSide::User.
  H2Stream* OnRequest() override;
  void OnGoaway(H2cSide& side) override;
  void OnWork() override;
  void OnMayReadSide() override { services_.turn.Again(this); }
  // H2cExchange::Owner.
  int32_t OnRequestHead() override;
  H2Session* Application() override;
  OriginSource* Origins() override { return origins_; }
  void OnExchangeEnded(H2cExchange& exchange) override;

 private:
  void Begin(bool opened);
  bool has_app() const { return origins_ == nullptr && !app_lost_; }
  // No request comes any more.
  bool has_ended() { return app_lost_ || retired_ || caller_ended_ || caller_.frames().goaway_received(); }
  void Pump();
  void ReadCaller();
  void ReadApplication();
  // Nothing more comes of it, and nothing more goes there.
  void LoseApplication(RequestOutcome outcome, Http1Refusal why);
  // No request is open that says why: the connection does. An application that has served, or says GOAWAY, may end a connection in order.
  void NoteLoss(RequestOutcome outcome, Http1Refusal why);
  // The caller has broken HTTP/2, or goes on to cause more than it may.
  void Refuse();
  // The caller gets the end behind what waits, and has the time to read it.
  void Close(CloseCause cause, int detail);
  void FinishIfDone();
  void OnDeadline();
  void OnHeadDue();
  void End(CloseCause cause, int detail = 0);

  const EngineServices& services_;
  User& user_;
  const HttpReading reading_;
  const RequestsOf of_;
  H2cSide caller_;
  H2cSide app_;
  OriginSource* origins_ = nullptr;  // of a connection that is served; null: it has an application
  std::vector<H2cExchange*> exchanges_;
  uint64_t sent_ = 0;  // payload of requests that went to origins
  int32_t number_ = 0;
  bool running_ = false;
  bool pumping_ = false;
  bool app_lost_ = false;
  bool leaving_ = false;       // no further requests are taken
  bool caller_ended_ = false;  // its half of the connection
  bool retired_ = false;       // the same, by us
  bool closing_ = false;       // the last frames go to the caller
  CloseCause cause_ = CloseCause::kFinished;
  int detail_ = 0;
  Timer head_due_;
  Timer deadline_;
};

}  // namespace orlop
