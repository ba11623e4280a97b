// fuzz · one relay between any two ends: the other end hears what an end says, whole or as a prefix, and the relay ends
// once, for a reason that the test knows. `relays [seed] [rounds]`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "engine/relay/relay.h"
#include "far_end.h"
#include "world.h"

namespace orlop::contracts {
namespace {

struct Ended final : Relay::User {
  void OnRelayEnded(const ByteEnd* end, int) override {
    Expect(!ended, "a relay to end once");
    ended = true;
    broken = end;
  }
  void OnRelayUnread() override { Expect(false, "no bytes that wait for an hour"); }
  bool ended = false;
  const ByteEnd* broken = nullptr;
};

// A far end, and how much of its bytes it has sent.
struct Speaker {
  std::unique_ptr<FarEnd> far;
  std::string words;
  size_t said = 0;
  bool end_said = false;
  void Speak(Random& random) {
    if (end_said) return;
    said += far->Say(words.data() + said, std::min(words.size() - said, Below(random, 60'000)));
    if (said < words.size()) return;
    end_said = true;
    far->SayEnd();
  }
};

constexpr const char* kNames[] = {"memory", "socket", "client stream", "server stream"};
constexpr size_t kKinds = 4;

std::unique_ptr<FarEnd> Make(size_t kind, World& world, Random& random) {
  switch (kind) {
    case 0:
      return MakeMemoryEnd(random);
    case 1:
      return MakeSocketEnd(world, random);
    default:
      return MakeStreamEnd(world, random, kind == 3);
  }
}

bool IsPrefix(const std::string& heard, const std::string& said) {
  return heard.size() <= said.size() && std::equal(heard.begin(), heard.end(), said.begin());
}

// `reset_at`: after so many steps one end is reset; negative: never.
void Round(size_t down_kind, size_t up_kind, Random& random, int reset_at) {
  World world;
  Speaker down{Make(down_kind, world, random), SomeBytes(random, Below(random, 400'000))};
  Speaker up{Make(up_kind, world, random), SomeBytes(random, Below(random, 400'000))};
  Ended user;
  Relay relay(world.services(), user);
  ByteEnd& down_near = down.far->Near(relay);
  ByteEnd& up_near = up.far->Near(relay);
  relay.Start(down_near, up_near);
  relay.Pump();
  const bool reset_down = random() % 2 == 0;
  for (int step = 0; !user.ended; step++) {
    Expect(step < 100'000, "the relay to end");
    if (step == reset_at) (reset_down ? down : up).far->Reset();
    for (Speaker* speaker : {&down, &up}) {
      if (random() % 3 != 0) speaker->Speak(random);
      if (random() % 3 != 0) speaker->far->Hear(Below(random, 60'000));
      if (random() % 2 == 0) speaker->far->Work();
    }
    world.Turn();
  }
  const std::string& to_up = down.words;
  const std::string& to_down = up.words;
  const bool whole = user.broken == nullptr;
  if (reset_at < 0) Expect(whole, "a relay that nobody reset to end in order");
  if (!whole)
    Expect(user.broken == (reset_down ? &down_near : &up_near) || down_kind == 1 || up_kind == 1,
           "the end that was reset to be named");
  if (whole) {
    Expect(relay.sent() == to_up.size() && relay.received() == to_down.size(), "every byte to be counted");
  }
  down.far->CloseNear(!whole);
  up.far->CloseNear(!whole);
  for (int last = 0; last < 1'000; last++) {
    for (Speaker* speaker : {&down, &up}) {
      speaker->far->Work();
      if (!speaker->far->heard_end() && !speaker->far->was_reset()) speaker->far->Hear(60'000);
    }
    world.Turn();
  }
  Expect(IsPrefix(up.far->heard(), to_up) && IsPrefix(down.far->heard(), to_down),
         "the bytes that were said");
  if (whole && reset_at < 0) {
    Expect(up.far->heard() == to_up && down.far->heard() == to_down, "all bytes that were said");
    Expect(up.far->heard_end() && down.far->heard_end(), "both ends of what was said");
  }
}

}  // namespace
}  // namespace orlop::contracts

int main(int argc, char** argv) {
  using namespace orlop::contracts;
  const auto seed = static_cast<uint32_t>(argc > 1 ? atol(argv[1]) : 1);
  const int rounds = argc > 2 ? atoi(argv[2]) : 4;
  SetSeed(seed);
  Random random(seed);
  for (size_t down = 0; down < kKinds; down++) {
    for (size_t up = 0; up < kKinds; up++) {
      fprintf(stderr, "%s to %s\n", kNames[down], kNames[up]);
      for (int round = 0; round < rounds; round++) {
        Round(down, up, random, -1);
        Round(down, up, random, static_cast<int>(Below(random, 40)));
      }
    }
  }
  printf("%d relays\n", static_cast<int>(kKinds * kKinds) * rounds * 2);
  return 0;
}
