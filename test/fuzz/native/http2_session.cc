// fuzz · steps 16, 17, 22: callers and origins of HTTP/2, in any order, through a whole engine. An input is 8 choices and then acts: a byte
// what, a byte who, and what the act needs. The rig aborts where a request is lost, ends twice, or outlives the engine.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

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

using orlop::fuzz::Rig;

enum Type : uint8_t { kData = 0, kHeaders = 1, kReset = 3, kSettings = 4, kGoaway = 7, kWindow = 8 };
constexpr uint8_t kEnds = 1;
constexpr uint8_t kEndsHead = 4;

void Frame(Rig& rig, uint8_t who, uint8_t type, uint8_t flags, uint8_t stream, const std::string& payload) {
  std::string frame(9, '\0');
  frame[1] = static_cast<char>(payload.size() >> 8);
  frame[2] = static_cast<char>(payload.size());
  frame[3] = static_cast<char>(type);
  frame[4] = static_cast<char>(flags);
  frame[8] = static_cast<char>(stream);
  frame += payload;
  rig.Say(who, reinterpret_cast<const uint8_t*>(frame.data()), frame.size());
}

std::string Number(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

// Requests, by HPACK's static table: a call of gRPC, and others.
std::string RequestOf(uint8_t which) {
  std::string block = which % 2 == 0 ? "\x82" : "\x83";
  block += "\x84\x86";
  block += std::string("\x41\x01", 2) + "a";
  if (which % 4 == 1) block += std::string("\x5f\x10", 2) + "application/grpc";
  if (which % 8 == 6) block += std::string("\x40\x0b", 2) + "x-orlop-now" + std::string("\x01", 1) + "1";
  return block;
}

// `:status` 200, 204, 404 and 500 of the static table.
std::string ResponseOf(uint8_t which) {
  static constexpr char kStatus[] = {'\x88', '\x89', '\x8d', '\x8e'};
  return std::string(1, kStatus[which % 4]);
}

void Act(Rig& rig, Input& input, uint8_t act, uint8_t who) {
  static const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const auto stream = [&] { return static_cast<uint8_t>(input.Byte() | 1); };
  switch (act) {
    case 0:
      rig.ApplicationComes();
      rig.Turn();
      rig.Say(who, reinterpret_cast<const uint8_t*>(preface.data()), preface.size());
      Frame(rig, who, kSettings, 0, 0, "");
      return;
    case 1: {
      const uint8_t id = stream();
      const uint8_t which = input.Byte();
      return Frame(rig, who, kHeaders, kEndsHead | (which & 16 ? kEnds : 0), id, RequestOf(which));
    }
    case 2:
      return Frame(rig, who, kSettings, input.Byte() & 1, 0, "");
    case 3: {
      const uint8_t id = stream();
      const uint8_t which = input.Byte();
      return Frame(rig, who, kHeaders, kEndsHead | (which & 16 ? kEnds : 0), id, ResponseOf(which));
    }
    case 4: {
      const uint8_t id = stream();
      const uint8_t length = input.Byte();
      return Frame(rig, who, kData, length & 1, id, std::string(length * 16, 'd'));
    }
    case 5: {
      const uint8_t id = stream();
      return Frame(rig, who, kHeaders, kEndsHead | kEnds, id,
                   std::string("\x40\x0b", 2) + "grpc-status\x01" + "0");
    }
    case 6: {
      const uint8_t id = stream();
      return Frame(rig, who, kReset, 0, id, Number(input.Byte()));
    }
    case 7:
      return Frame(rig, who, kGoaway, 0, 0, Number(input.Byte()) + Number(0));
    case 8: {
      const uint8_t id = input.Byte();
      return Frame(rig, who, kWindow, 0, id, Number(input.Byte() * 256u));
    }
    case 9: {
      const uint8_t type = input.Byte();
      const uint8_t flags = input.Byte();
      const uint8_t id = input.Byte();
      const size_t length = std::min<size_t>(input.Byte(), input.left);
      const std::string payload(reinterpret_cast<const char*>(input.at), length);
      input.at += length;
      input.left -= length;
      return Frame(rig, who, type, flags, id, payload);
    }
    case 10: {
      // How many streams it takes.
      const std::string most = std::string("\x00\x03", 2) + Number(input.Byte());
      return Frame(rig, who, kSettings, 0, 0, most);
    }
    case 11:
      return rig.EndHalf(who);
    case 12:
      return rig.Close(who);
    case 13:
      return rig.Pass(static_cast<uint64_t>(who) * 100);
    case 14:
      return rig.AnswerLate(who);
    default:
      break;
  }
  switch (input.Byte() % 5) {
    case 0:
      return rig.Listen(who % 2 == 0);
    case 1:
      return rig.RemovePod(who % 2 == 0);
    case 2:
      return rig.Drain();
    case 3:
      return rig.Fail(who);
    default:
      return rig.Retire();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kChoices = 8;
  if (size < kChoices) return 0;
  Rig rig(data, kChoices);
  Input input{data + kChoices, size - kChoices};
  for (int acts = 0; input.left > 0 && acts < 256; acts++) {
    const uint8_t act = input.Byte();
    const uint8_t who = input.Byte();
    Act(rig, input, act % 16, who);
    // What comes before the engine wakes up is one turn's.
    if ((act & 16) == 0) rig.Turn();
  }
  return 0;
}
