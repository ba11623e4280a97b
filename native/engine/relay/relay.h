// 14 · data thread · bytes between any two ends, both ways: copied once, counted, FIN for FIN.
#pragma once

#include <cstdint>

#include "engine/core/byte_end.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"

namespace orlop {

class Relay final : public ByteEnd::User, public Turn::Task {
 public:
  class User {
   public:
    // Called once. `broken` null: both ends have said all and heard all. Otherwise that end was reset; `error` is errno or a
    // stream's error code. The ends are the user's to close.
    virtual void OnRelayEnded(const ByteEnd* broken, int error) = 0;

   protected:
    ~User() = default;
  };

  Relay(const EngineServices& services, User& user);

  // `down` is where the connection came from. Both have this relay as their user, and outlive it.
  void Start(ByteEnd& down, ByteEnd& up);
  // Moves what there is.
  void Pump();
  // The user has ended it.
  void Stop();
  // Payload that was given to the upstream end, and to the downstream end.
  uint64_t sent() const { return sent_; }
  uint64_t received() const { return received_; }

  // ByteEnd::User.
  void OnReady(ByteEnd& end) override;
  void OnArrived(ByteEnd& end) override;
  void OnReset(ByteEnd& end, int code) override { End(&end, code); }
  ssize_t OnPull(ByteEnd& end, const Pieces& into, bool* more) override;
  // Turn::Task.
  void OnAgain() override;

 private:
  // One direction. True: there is more than this turn's share.
  bool Carry(ByteEnd& from, ByteEnd& to, uint64_t* counter);
  void FinishIfDone();
  void End(const ByteEnd* broken, int error);

  const EngineServices& services_;
  User& user_;
  ByteEnd* down_ = nullptr;
  ByteEnd* up_ = nullptr;
  bool running_ = false;
  const ByteEnd* failing_ = nullptr;  // the first that was
  int pull_error_ = 0;                // met inside of a session, to be dealt with outside
  const ByteEnd* pull_broken_ = nullptr;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  Timer deadline_;
};

}  // namespace orlop
