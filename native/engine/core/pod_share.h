// data thread · a connection's part in what its pod may have of a thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/events.h"
#include "engine/core/fair_turns.h"
#include "engine/core/hook.h"

namespace orlop {

struct PodAccount;
// Its lists in the account.
struct BySilence;
struct ByHeads;
struct ByBytes;

// A base class of what is read, request by request. PodShares counts it.
class PodShare : public Hook<BySilence>, public Hook<ByHeads>, public Hook<ByBytes> {
 public:
  // The pod is over its budget, and this connection goes: for kHttpSilent because nothing is open on it, for kShed because it holds
  // most. It is called at most once.
  virtual void OnShed(CloseCause cause) = 0;
  // What it asked MayRead for may be done now.
  virtual void OnMayRead() = 0;
  // The request that it asked MayGo for may go to TypeScript now.
  virtual void OnMayGo() = 0;
  // PodShares will call OnMayGo.
  bool awaits_turn() const { return go_.linked(); }

 protected:
  ~PodShare() = default;

 private:
  friend class PodShares;
  class Go final : public FairTurns::Waiter {
   public:
    explicit Go(PodShare& share) : share_(share) {}
    void OnTurn() override { share_.OnMayGo(); }

   private:
    PodShare& share_;
  };
  class Read final : public FairTurns::Waiter {
   public:
    explicit Read(PodShare& share) : share_(share) {}
    void OnTurn() override { share_.OnMayRead(); }

   private:
    PodShare& share_;
  };
  Go go_{*this};
  Read read_{*this};
  PodAccount* account_ = nullptr;  // null: not counted
  bool carried_ = false;           // its bytes are counted alone
  bool open_ = false;              // a request is
  uint8_t heads_class_ = 0;
  uint8_t bytes_class_ = 0;
  size_t heads_ = 0;
  size_t bytes_ = 0;  // with its heads
};

}  // namespace orlop
