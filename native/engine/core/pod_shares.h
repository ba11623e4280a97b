// data thread · what each pod may have of a thread for its requests: turns, open requests, memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/core/buffers.h"
#include "engine/core/by_size.h"
#include "engine/core/pod_share.h"
#include "engine/core/stats.h"
#include "engine/core/turn.h"

namespace orlop {

struct PodAccount final : Turn::Mortal {
  FairTurns::Queue queue;
  List<PodShare, BySilence> silent;  // without an open request, the longest silent first
  BySize<PodShare, ByHeads> by_heads;
  BySize<PodShare, ByBytes> by_bytes;
  uint32_t pod_idx = 0;
  // What a verdict on its requests takes, by those before: at most kShareAlone.
  int32_t verdict_units = 0;
  // What the next takes. The estimate goes down by a sixteenth each time, since requests that take less may follow.
  int32_t ExpectVerdict() {
    const int32_t units = verdict_units;
    verdict_units -= (units + 15) / 16;
    return units;
  }
  size_t shares = 0;
  size_t carried = 0;  // of these
  size_t open = 0;
  size_t heads = 0;  // bytes
  size_t bytes = 0;
};

// Of each pod.
struct PodLimits {
  size_t open = 10'000;     // connections that are read, and so requests
  size_t heads = 8u << 20;  // bytes that its requests keep of heads while they are open
};

// Each call costs the same however many connections a pod has.
class PodShares final : public Turn::Task {
 public:
  // What a pod may do in a turn of the thread, in units of about five microseconds: a unit to read what an end has sent, a unit to judge a
  // request. What another pod sends waits for such a share of each pod that floods when it comes, and again with its verdict; so does
  // its response.
  static constexpr int32_t kShareAmongOthers = 24;
  // While all connections of the thread are its own, and nobody waits for it.
  static constexpr int32_t kShareAlone = 192;
  // Bytes of a head that cost as much again as the request itself: copied, tokenised, looked at by rules.
  static constexpr size_t kHeadBytesPerUnit = 2'048;
  // A head of HTTP/2 is a unit, and so are as many other frames as cost that much.
  static constexpr uint32_t kWorkPerUnit = 16;
  static constexpr uint32_t kUsPerUnit = 5;

  PodShares(Turn& turn, const Buffers& buffers, Stats& stats)
      : turn_(turn), buffers_(buffers), stats_(stats) {}

  void SetLimits(const PodLimits& limits) { limits_ = limits; }

  // A connection is read from here on. Over the budget the longest silent connection of the pod ends, in this call.
  void Begin(PodShare* share, uint32_t pod_idx);
  // What it holds is the pod's, and it is none of the connections that the pod may have.
  void Carry(PodShare* share, uint32_t pod_idx);
  // A head of so many bytes is whole, which no call of Holds has counted yet. False: the pod has too many requests open, or keeps too
  // many bytes of heads and none that are much larger; the request is answered with 503.
  bool Open(PodShare* share, size_t head_bytes);
  // An end of it has something to read. True: it may be read now, also of a connection that is not counted. False: when OnMayRead is called.
  bool MayRead(PodShare* share);
  // Reading has caused so much work, in units of the toll (http2/toll.h): the pod has as much less of its next turns.
  void Spend(PodShare* share, uint32_t work);
  // TypeScript has taken so long for an event of the pod, in microseconds: the pod has as much less of its next turns, also of those
  // after all its connections have ended. What it asks for next counts as if it took as long.
  void SpendTime(uint32_t pod_idx, uint32_t us);
  // How many connections of the pod may come in this turn, of at most so many: fewer while verdicts are dear, none while it owes for them.
  int32_t MayCome(uint32_t pod_idx, int32_t most);
  // So many have come.
  void Came(uint32_t pod_idx, uint32_t count);
  // True: the request may go to TypeScript now. False: when OnMayGo is called.
  bool MayGo(PodShare* share, size_t head_bytes);
  // The request has ended, and the next may come.
  void Close(PodShare* share);
  // What it keeps now: bytes of heads outside of queues, and bytes in queues.
  void Holds(PodShare* share, size_t heads, size_t queued);
  // It is not read any more. Nothing happens when it is not counted.
  void End(PodShare* share);

  // Memory is short: of pods that have more than their part of it, what holds most ends until they have not, or memory is not short.
  void Relieve();

  size_t accounts() const { return accounts_.size(); }

  // Turn::Task.
  void OnAgain() override;

 private:
  // What a pod may do in this turn.
  int32_t Share() const;
  using Accounts = std::unordered_map<uint32_t, std::unique_ptr<PodAccount>>;
  PodAccount& AccountOf(uint32_t pod_idx);
  // With one share more.
  PodAccount& AccountOfNext(uint32_t pod_idx);
  Accounts::iterator Drop(Accounts::iterator account);
  // Of accounts without a share those that owe nothing any more.
  void DropPaid();
  void Shed(PodShare* share, CloseCause cause);
  // Takes it out of sums and lists of sizes.
  static void Uncount(PodShare* share);
  Turn& turn_;
  const Buffers& buffers_;
  Stats& stats_;
  PodLimits limits_;
  FairTurns turns_;
  Accounts accounts_;
  size_t in_use_ = 0;    // of the accounts, those with a share
  int64_t counted_ = 0;  // connections of all accounts
  bool heavy_ = false;   // a pod keeps too many bytes of heads
};

}  // namespace orlop
