// fuzz · steps 4, 6, 10, 11, 13, 14: what peers, servers and applications send, in any order, while time
// passes, decisions come or do not, and the kernel says no. An input is 8 choices and then acts: a byte what
// (with 16: at once with the next), a byte who, a byte or two how long, and bytes.
#include <cstddef>
#include <cstdint>

#include "rig.h"

namespace {

struct Input {
  const uint8_t* at;
  size_t left;
  uint8_t Byte() {
    if (left == 0) return 0;
    left--;
    return *at++;
  }
};

// A frame whose length is right, whatever else is not. `who`'s next bytes: type, flags, stream.
void Frame(orlop::fuzz::Rig& rig, uint8_t who, const uint8_t* bytes, size_t length) {
  if (length < 3) return;
  const size_t payload = length - 3;
  const uint8_t head[9] = {static_cast<uint8_t>(payload >> 16),
                           static_cast<uint8_t>(payload >> 8),
                           static_cast<uint8_t>(payload),
                           bytes[0],
                           bytes[1],
                           0,
                           0,
                           0,
                           bytes[2]};
  rig.Say(who, head, sizeof head);
  rig.Say(who, bytes + 3, payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kChoices = 8;
  if (size < kChoices) return 0;
  orlop::fuzz::Rig rig(data, kChoices);
  Input input{data + kChoices, size - kChoices};
  for (int acts = 0; input.left > 0 && acts < 256; acts++) {
    const uint8_t act = input.Byte();
    const uint8_t who = input.Byte();
    switch (act % 16) {
      case 0:
        rig.PeerComes();
        break;
      case 1:
        rig.ApplicationComes();
        break;
      case 2:
      case 3:
      case 4: {
        size_t length = input.Byte();
        if (act % 16 == 4) length = length << 8 | input.Byte();
        if (length > input.left) length = input.left;
        act % 16 == 3 ? Frame(rig, who, input.at, length) : rig.Say(who, input.at, length);
        input.at += length;
        input.left -= length;
        break;
      }
      case 5:
        rig.EndHalf(who);
        break;
      case 6:
        rig.Close(who);
        break;
      case 7:
        rig.Listen(who % 2 == 0);
        break;
      case 8:
        rig.Pass(who);
        break;
      case 9:
        rig.Pass(static_cast<uint64_t>(who) * 1'000);
        break;
      case 10:
        rig.AnswerLate(who);
        break;
      case 11:
        rig.RemovePod(who % 2 == 0);
        break;
      case 12:
        rig.Retire();
        break;
      case 13:
        rig.Drain();
        break;
      case 14:
        rig.Fail(who);
        break;
      default:
        break;
    }
    // What comes before the engine wakes up is one turn's.
    if ((act & 16) == 0) rig.Turn();
  }
  return 0;
}
