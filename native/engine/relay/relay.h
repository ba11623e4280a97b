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
    // Instead of OnRelayEnded, once: bytes for an end have waited for as long as they may, and it has taken none.
    virtual void OnRelayUnread() = 0;
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
  // Looks at bytes of `from`, of which `passed` have gone on. False: they have waited for as long as they may.
  static bool Look(const ByteEnd& from, uint64_t passed, uint32_t* seen, uint8_t* still);
  // One direction. True: there is more than this turn's share.
  bool Carry(ByteEnd& from, ByteEnd& to, uint64_t* counter);
  void FinishIfDone();
  void End(const ByteEnd* broken, int error);
  // Something waits: what comes of it is looked at four times until its time is over.
  void AwaitReader() {
    if (!deadline_.armed()) LookLater();
  }
  void LookLater();
  void OnDeadline();

  const EngineServices& services_;
  User& user_;
  ByteEnd* down_ = nullptr;
  ByteEnd* up_ = nullptr;
  bool running_ = false;
  // Looks at each direction, one after the other, that found bytes and no movement; and how many had gone on at the last, modulo 2^32.
  // They lie where nothing else does: a node holds many relays that do nothing.
  uint8_t sent_still_ = 0;
  uint8_t received_still_ = 0;
  uint32_t sent_seen_ = 0;
  const ByteEnd* failing_ = nullptr;  // the first that was
  uint32_t received_seen_ = 0;
  int pull_error_ = 0;  // met inside of a session, to be dealt with outside
  const ByteEnd* pull_broken_ = nullptr;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  Timer deadline_;  // of an end that is failing, or else of the next look
};

}  // namespace orlop
