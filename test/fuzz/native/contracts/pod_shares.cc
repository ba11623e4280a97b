// fuzz · what a pod may have of a thread for its requests: turns that no other pod's flood takes away, and budgets of which the
// right connection pays. `pod-shares [seed] [rounds]`.
#include "engine/core/pod_shares.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "engine/core/byte_queue.h"
#include "world.h"

namespace orlop::contracts {
namespace {

constexpr PodLimits kLimits;
// Of turns alone.
constexpr size_t kShare = 16;
constexpr auto kAmongOthers = static_cast<size_t>(PodShares::kShareAmongOthers);
constexpr auto kAlone = static_cast<size_t>(PodShares::kShareAlone);

// Turns alone.

class Work final : public FairTurns::Waiter {
 public:
  Work(size_t pod, size_t number, int32_t cost, std::vector<Work*>* begun)
      : pod(pod), number(number), cost(cost), begun_(begun) {}
  void OnTurn() override { begun_->push_back(this); }
  const size_t pod, number;
  const int32_t cost;

 private:
  std::vector<Work*>* begun_;
};

// Random arrivals of random cost. In each turn a pod that waits begins something, in its order, and never more than its share; what
// it owes from the turn before is less than a share.
void ShareTurns(Random& random) {
  FairTurns turns;
  turns.SetShare(kShare);
  std::vector<Work*> begun;
  std::map<size_t, FairTurns::Queue> queues;
  std::deque<Work> all;
  std::map<size_t, size_t> asked, answered;
  std::map<size_t, int64_t> spent;
  const size_t pods = 1 + Below(random, 5);
  const size_t most = 1 + Below(random, 400);
  const size_t arrivals_until = 1 + Below(random, 30);
  uint64_t turn = Below(random, 3);
  for (size_t nth = 0;; nth++, turn++) {
    for (size_t pod = 0; nth < arrivals_until && pod < pods; pod++) {
      for (size_t left = Below(random, most); left > 0; left--) {
        const auto cost = static_cast<int32_t>(Below(random, 3) == 0 ? 1 + Below(random, kShare) : 1);
        Work& work = all.emplace_back(pod, asked[pod]++, cost, &begun);
        if (turns.Ask(&queues[pod], &work, cost, turn)) begun.push_back(&work);
      }
    }
    turns.Run(turn);
    std::map<size_t, size_t> in_turn;
    for (const Work* work : begun) {
      Expect(work->number == answered[work->pod]++, "the order of a pod's requests to be kept");
      spent[work->pod] += work->cost;
      Expect(++in_turn[work->pod] <= kShare, "no more than a share in a turn");
    }
    begun.clear();
    bool waits = false;
    for (size_t pod = 0; pod < pods; pod++) {
      Expect(spent[pod] < static_cast<int64_t>((nth + 2) * kShare), "no more than a share for each turn");
      if (answered[pod] == asked[pod]) continue;
      waits = true;
      Expect(in_turn[pod] > 0, "each pod that waits to begin something in each turn");
    }
    Expect(turns.empty() != waits, "the turns to know whether something waits");
    if (!waits && nth >= arrivals_until) return;
  }
}

// Work of random cost, some of it paid only once it was done, by pods that come and go. A model of its own says of each what is left.
void OweTurns(Random& random) {
  FairTurns turns;
  turns.SetShare(kShare);
  std::vector<Work*> begun;
  std::deque<Work> all;
  struct Pod {
    FairTurns::Queue queue;
    int64_t left = kShare;
    uint64_t turn = 0;
    std::deque<const Work*> waiting;
  };
  std::vector<Pod> pods(1 + Below(random, 4));
  const auto fill = [](Pod& pod, uint64_t turn) {
    pod.left = std::min<int64_t>(
        pod.left + static_cast<int64_t>(turn - pod.turn) * static_cast<int64_t>(kShare), kShare);
    pod.turn = turn;
  };
  uint64_t turn = 0;
  for (size_t nth = 0; nth < 400; nth++, turn += Below(random, 8) == 0 ? Below(random, 100) : 1) {
    for (size_t at = 0; at < pods.size(); at++) {
      Pod& pod = pods[at];
      for (size_t acts = Below(random, 6); acts > 0; acts--) {
        fill(pod, turn);
        if (Below(random, 4) == 0) {
          const auto cost =
              static_cast<int32_t>(Below(random, 20) == 0 ? 1 + Below(random, 1'000) : Below(random, 20));
          turns.Spend(&pod.queue, cost, turn);
          pod.left -= cost;
          continue;
        }
        const auto cost = static_cast<int32_t>(1 + Below(random, kShare));
        Work& work = all.emplace_back(at, nth, cost, &begun);
        const bool goes = pod.waiting.empty() && pod.left > 0;
        Expect(turns.Ask(&pod.queue, &work, cost, turn) == goes, "what is left to decide");
        goes ? static_cast<void>(pod.left -= cost) : pod.waiting.push_back(&work);
      }
      Expect(turns.Owes(&pod.queue, turn) == (fill(pod, turn), pod.left <= 0), "what it owes to be known");
    }
    begun.clear();
    turns.Run(turn);
    std::map<size_t, std::deque<const Work*>> of_pod;
    for (const Work* work : begun) of_pod[work->pod].push_back(work);
    for (size_t at = 0; at < pods.size(); at++) {
      Pod& pod = pods[at];
      if (pod.waiting.empty()) continue;
      fill(pod, turn);
      while (pod.left > 0 && !pod.waiting.empty()) {
        Expect(!of_pod[at].empty() && of_pod[at].front() == pod.waiting.front(), "the oldest to begin");
        pod.left -= pod.waiting.front()->cost;
        pod.waiting.pop_front();
        of_pod[at].pop_front();
      }
      Expect(of_pod[at].empty(), "no more to begin than is left");
    }
  }
  FairTurns::Queue stopped;
  for (int nth = 0; nth < 3; nth++) turns.Spend(&stopped, INT32_MAX, turn);
  Expect(turns.Owes(&stopped, turn), "much to be owed");
  Expect(!turns.Owes(&stopped, turn + 1 + FairTurns::kMostOwed / kShare), "and no more than the most");
}

// One pod has a thousand requests waiting. Another pod's only request goes on at once, and a third pod's share is not smaller.
void KeepBystanders() {
  FairTurns turns;
  turns.SetShare(kShare);
  std::vector<Work*> begun;
  FairTurns::Queue flood, one, some;
  std::deque<Work> all;
  for (size_t i = 0; i < 1'000; i++) {
    Work& work = all.emplace_back(0, i, 1, &begun);
    Expect(turns.Ask(&flood, &work, 1, 7) == (i < kShare), "a share to go at once, and the rest to wait");
  }
  Work& bystander = all.emplace_back(1, 0, 1, &begun);
  Expect(turns.Ask(&one, &bystander, 1, 7), "the other pod's request to go at once");
  for (uint64_t turn = 8; turn < 11; turn++) {
    for (size_t i = 0; turn == 8 && i < kShare + 8; i++)
      turns.Ask(&some, &all.emplace_back(2, i, 1, &begun), 1, turn);
    turns.Run(turn);
    const auto of_flood = static_cast<size_t>(
        std::count_if(begun.begin(), begun.end(), [](const Work* work) { return work->pod == 0; }));
    Expect(of_flood == kShare, "one share of the flood in each turn");
    Expect(begun.size() - of_flood == (turn == 9 ? 8 : 0),
           "what was over the third pod's share in its next turn");
    begun.clear();
  }
  // Work that is taken back is not begun.
  Work& gone = all.emplace_back(2, 0, 1, &begun);
  for (size_t i = 0; i < kShare; i++) turns.Ask(&some, &all.emplace_back(2, i, 1, &begun), 1, 11);
  Expect(!turns.Ask(&some, &gone, 1, 11), "the share to be used up");
  gone.Remove();
  turns.Run(12);
  Expect(std::find(begun.begin(), begun.end(), &gone) == begun.end(), "what was removed not to begin");
}

// Budgets.

class Connection final : public PodShare {
 public:
  Connection(const World& world, uint32_t pod)
      : shares_(world.services().shares), queue_(world.services().buffers.chunks) {
    shares_.Begin(this, pod);
  }
  ~Connection() { shares_.End(this); }
  void OnMayRead() override { reads++; }
  void OnMayGo() override { turns++; }
  void OnShed(CloseCause cause) override {
    Expect(!shed, "to be shed once");
    shed = true;
    why = cause;
    queue_.Clear();
    shares_.End(this);
  }
  bool Open(size_t head) {
    if (!shares_.Open(this, head)) return false;
    Hold(head, 0);
    return true;
  }
  void Close() {
    shares_.Close(this);
    Hold(0, 0);
  }
  void Hold(size_t heads_now, size_t queued) {
    static const std::vector<uint8_t> bytes(1 << 20);
    heads = heads_now;
    queue_.Clear();
    queue_.Append(bytes.data(), queued);
    shares_.Holds(this, heads, queued);
  }
  bool shed = false;
  CloseCause why = CloseCause::kFinished;
  size_t heads = 0;
  int reads = 0;
  int turns = 0;

 private:
  PodShares& shares_;
  ByteQueue queue_;
};

using Connections = std::vector<std::unique_ptr<Connection>>;

size_t ShedOf(const Connections& connections) {
  return static_cast<size_t>(
      std::count_if(connections.begin(), connections.end(), [](const auto& each) { return each->shed; }));
}

Connections Make(World& world, size_t count, uint32_t pod) {
  Connections made;
  for (size_t i = 0; i < count; i++) made.push_back(std::make_unique<Connection>(world, pod));
  return made;
}

void LimitOpen() {
  World world;
  Connection other(world, 2);
  Connections all = Make(world, kLimits.open, 1);
  // The second has been silent for less long than all others.
  Expect(all[1]->Open(100), "room for a request");
  all[1]->Close();
  Expect(all[0]->Open(100), "room for a request");
  Connection next(world, 1);
  Expect(ShedOf(all) == 1 && all[2]->shed, "the longest silent connection to go");
  Expect(all[2]->why == CloseCause::kHttpSilent, "a cause of its own");
  all.erase(all.begin() + 2);
  all.push_back(std::make_unique<Connection>(world, 1));
  Expect(ShedOf(all) == 1 && all[2]->shed, "the next one then");
  all.erase(all.begin() + 2);
  Expect(!all[1]->shed && !next.shed && !other.shed, "no other to go");
  for (auto& each : all)
    Expect(each == all[0] || each->Open(100), "room for as many requests as connections");
  Expect(next.Open(100), "room for the last request");
  Connection beyond(world, 1);
  Expect(!next.shed && !beyond.Open(100), "no room for one more");
  Expect(other.Open(100), "room for another pod");
  next.Close();
  Expect(beyond.Open(100), "room when a request has ended");
}

void LimitHeads() {
  World world;
  constexpr size_t kHead = 4'000;
  constexpr size_t kFits = kLimits.heads / kHead;
  Connections all = Make(world, kFits + 10, 1);
  size_t opened = 0;
  while (opened < all.size() && all[opened]->Open(kHead)) opened++;
  Expect(opened == kFits, "room for 8 MiB of heads");
  Connection other(world, 2);
  Expect(other.Open(kHead), "room for another pod");
  world.Turn();
  Expect(ShedOf(all) == 0, "no connection to go for the like of it");
  // Large heads are under way: they go, and not the small ones.
  all[2]->Close();
  Connections slow = Make(world, 5, 1);
  for (auto& each : slow) each->Hold(40'000, 0);
  Expect(all[opened]->Open(kHead), "room for a small head beside large ones");
  world.Turn();
  Expect(ShedOf(slow) == 5 && ShedOf(all) == 0, "the largest to go");
  all[0]->Close();
  all[1]->Close();
  Expect(all[opened + 1]->Open(kHead) && all[opened + 2]->Open(kHead), "room for as many as have ended");
  Expect(!all[opened + 3]->Open(kHead), "no room for more");
}

// Heads that grow and end as they like, in three pods. Whatever comes, no pod keeps more than its budget over a turn, and what goes is
// of the largest class.
void GrowHeads(Random& random) {
  World world;
  Connections all;
  for (uint32_t pod = 1; pod <= 3; pod++) {
    for (auto& each : Make(world, 400, pod)) all.push_back(std::move(each));
  }
  using Sizes = BySize<PodShare, ByHeads>;
  for (int turn = 0; turn < 20; turn++) {
    for (size_t i = Below(random, 400); i > 0; i--) {
      Connection& one = *all[Below(random, all.size())];
      if (!one.shed) one.Hold(Below(random, 4) == 0 ? 0 : Below(random, 61'440), 0);
    }
    const Connections::difference_type of_pod = 400;
    std::vector<bool> were_shed;
    for (const auto& each : all) were_shed.push_back(each->shed);
    world.Turn();
    for (auto from = all.begin(); from != all.end(); from += of_pod) {
      size_t kept = 0;
      uint8_t largest = 0, smallest_shed = Sizes::kClasses;
      for (auto each = from; each != from + of_pod; ++each) {
        if ((*each)->shed) {
          if (!were_shed[static_cast<size_t>(each - all.begin())])
            smallest_shed = std::min(smallest_shed, Sizes::ClassOf((*each)->heads));
          continue;
        }
        kept += (*each)->heads;
        largest = std::max(largest, Sizes::ClassOf((*each)->heads));
      }
      Expect(kept <= kLimits.heads, "no more heads than the budget after a turn");
      Expect(smallest_shed >= largest, "the largest to go first");
    }
  }
}

void RelieveMemory() {
  World world;
  Buffers& buffers = world.services().buffers;
  Connections greedy = Make(world, 100, 1);
  Connections modest = Make(world, 20, 2);
  for (size_t i = 0; i < greedy.size(); i++) greedy[i]->Hold(0, i == 70 ? 300'000 : 60'000);
  for (auto& each : modest) each->Hold(0, 60'000);
  const size_t held = buffers.chunks.bytes_in_use();
  // Enough for all: nobody goes.
  buffers.SetBudget(held * 2);
  world.services().shares.Relieve();
  Expect(ShedOf(greedy) == 0 && ShedOf(modest) == 0, "nobody to go while there is memory");
  // Short: the pod that has most of it pays, its largest first, until memory is not short.
  buffers.SetBudget(held / 83 * 100);
  world.services().shares.Relieve();
  Expect(greedy[70]->shed && greedy[70]->why == CloseCause::kShed, "the largest to go");
  Expect(!buffers.Overloaded() && ShedOf(greedy) < 10 && ShedOf(modest) == 0, "no more than is needed to go");
  // Short by what others hold: what is left to each pod is its part.
  ByteQueue others(buffers.chunks);
  const std::vector<uint8_t> bytes(4 << 20);
  others.Append(bytes.data(), bytes.size());
  buffers.SetBudget(4 << 20);
  world.services().shares.Relieve();
  const size_t left = (greedy.size() - ShedOf(greedy)) * 2 * Chunk::kBytes;
  Expect(left == 1 << 20, "a quarter to be left");
  Expect(ShedOf(modest) == 4, "the other pod to keep its quarter");
}

// Requests of two pods wait for turns of a real thread's loop.
void WaitForTurns() {
  World world;
  Connections flood = Make(world, 100, 1);
  Connection bystander(world, 2);
  PodShares& shares = world.services().shares;
  size_t at_once = 0;
  for (auto& each : flood) {
    Expect(each->Open(400), "room");
    at_once += shares.MayGo(each.get(), 400) ? 1 : 0;
  }
  Expect(at_once == kAmongOthers, "a share to go at once");
  Expect(bystander.Open(400) && shares.MayGo(&bystander, 400), "the bystander to go at once");
  flood[40]->Close();
  flood[41].reset();
  for (size_t i = 0; i <= 100 / kAmongOthers; i++) world.Turn();
  size_t had = 0;
  for (const auto& each : flood) had += each && each->turns == 1 ? 1 : 0;
  Expect(had == 100 - kAmongOthers - 2, "each that still waits to get its turn once");
  // A head of 20 KiB costs 11 units.
  size_t large = 0;
  for (auto& each : flood) large += each && shares.MayGo(each.get(), 20 << 10) ? 1 : 0;
  Expect(large == 3, "large heads to cost more");
}

// A flood's sockets keep their bytes until it is its pod's turn. What was read and what goes to TypeScript are paid from the same share.
void ReadInTurns() {
  World world;
  PodShares& shares = world.services().shares;
  Connections flood = Make(world, 100, 1);
  {
    Connection bystander(world, 2);
    for (size_t i = 0; i < kAmongOthers - 4; i++)
      Expect(shares.MayRead(flood[i].get()), "a share to be read at once");
    for (size_t i = 0; i < 4; i++)
      Expect(flood[i]->Open(400) && shares.MayGo(flood[i].get(), 400), "four to go on");
    for (size_t i = 50; i < 100; i++) Expect(!shares.MayRead(flood[i].get()), "the rest to wait");
    Expect(!shares.MayRead(flood[50].get()), "what waits to wait once");
    Expect(flood[4]->Open(400) && !shares.MayGo(flood[4].get(), 400), "a request to wait behind them");
    Expect(shares.MayRead(&bystander), "the bystander to be read at once");
    // An end that says something is not forgotten when a request of the connection ends.
    Expect(flood[51]->Open(400), "room");
    flood[51]->Close();
    flood[52].reset();
    for (size_t i = 0; i <= 1 + 51 / kAmongOthers; i++) world.Turn();
    for (size_t i = 50; i < 100; i++) Expect(i == 52 || flood[i]->reads == 1, "each to be read once");
    Expect(flood[4]->turns == 1, "the request to have its turn");
  }
  // Nobody else is there.
  flood[52] = std::make_unique<Connection>(world, 1);
  world.Turn();
  size_t at_once = 0;
  for (size_t i = 0; i < 2 * kAlone; i++) at_once += shares.MayRead(flood[i % 100].get()) ? 1 : 0;
  Expect(at_once == kAlone, "more to be done for a pod that is alone");
}

// Frames that cost more than the read by which they came are taken from the next shares of their pod, and of no other.
void PayForWork() {
  World world;
  PodShares& shares = world.services().shares;
  Connections flood = Make(world, 3, 1);
  Connection bystander(world, 2);
  Expect(shares.MayRead(flood[0].get()), "the first to be read");
  shares.Spend(flood[0].get(), PodShares::kWorkPerUnit - 1);
  Expect(shares.MayRead(flood[1].get()), "little work to cost nothing more");
  shares.Spend(flood[0].get(), 3 * PodShares::kShareAmongOthers * PodShares::kWorkPerUnit);
  Expect(!shares.MayRead(flood[2].get()), "the pod to have spent its share");
  Expect(shares.MayRead(&bystander), "the bystander to be read at once");
  int turns = 0;
  for (; flood[2]->reads == 0 && turns < 10; turns++) world.Turn();
  Expect(turns >= 3 && turns <= 5, "what was spent to be paid back turn by turn");
}

// What TypeScript takes for a pod's requests is the pod's, also when it comes with a new connection each time, and no other's.
void PayForTime() {
  World world;
  PodShares& shares = world.services().shares;
  Connection bystander(world, 2);
  constexpr uint32_t kUs = 10 * PodShares::kShareAmongOthers * PodShares::kUsPerUnit;
  {
    Connection dear(world, 1);
    Expect(dear.Open(400) && shares.MayGo(&dear, 400), "the first request to go");
    shares.SpendTime(1, kUs);
  }
  Expect(shares.MayCome(1, 128) == 0 && shares.MayCome(2, 128) == 128, "no connection to come while it owes");
  Connection next(world, 1), beside(world, 1);
  Expect(next.Open(400) && !shares.MayGo(&next, 400), "a new connection not to be a new pod");
  Expect(beside.Open(400) && !shares.MayGo(&beside, 400), "another to wait behind it");
  Expect(bystander.Open(400) && shares.MayGo(&bystander, 400), "the bystander to go at once");
  int turns = 0;
  for (; next.turns == 0 && turns < 20; turns++) world.Turn();
  Expect(turns >= 9 && turns <= 11, "the time to be paid back turn by turn");
  Expect(beside.turns == 0, "a request to count as what the request before it took");
  world.Turn();
  Expect(beside.turns == 1, "the next to go in the next turn");
  while (shares.MayCome(1, 128) == 0) world.Turn();
  Expect(shares.MayCome(1, 128) == 1, "a single connection to come, of which as much is expected");
  int32_t before = 1;
  for (int came = 0; shares.MayCome(1, 128) < 128; came++) {
    Expect(came < 500, "what is cheap again to be held for cheap after a while");
    shares.Came(1, 1);
    Expect(shares.MayCome(1, 128) >= before, "more to come with each that has come");
    before = shares.MayCome(1, 128);
  }
  // Accounts of pods that have gone stay for as long as they owe something, and not for ever.
  for (uint32_t pod = 10; pod < 10'000; pod++) {
    Connection gone(world, pod);
    shares.SpendTime(pod, kUs);
    if (pod % 8 == 0) world.Turn();
    Expect(shares.accounts() < 2'000, "no account for ever");
  }
}

}  // namespace
}  // namespace orlop::contracts

int main(int argc, char** argv) {
  using namespace orlop::contracts;
  const auto seed = static_cast<uint32_t>(argc > 1 ? strtoul(argv[1], nullptr, 10) : 1);
  const auto rounds = argc > 2 ? strtoul(argv[2], nullptr, 10) : 10;
  SetSeed(seed);
  Random random(seed);
  KeepBystanders();
  LimitOpen();
  LimitHeads();
  RelieveMemory();
  WaitForTurns();
  ReadInTurns();
  PayForWork();
  PayForTime();
  for (unsigned long i = 0; i < rounds; i++) {
    ShareTurns(random);
    OweTurns(random);
    GrowHeads(random);
  }
  printf("%lu rounds\n", rounds);
  return 0;
}
