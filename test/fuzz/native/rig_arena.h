// fuzz · what a rig and its answers share: the arena, how both name connections and destinations, and how a run ends that is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/core/arena.h"
#include "engine/core/endpoint.h"

namespace orlop::fuzz {

constexpr size_t kMostFarEnds = 12;
constexpr uint32_t kPod = 1;

[[noreturn]] inline void Wrong(const char* what) {
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

inline uint8_t* Arena() {
  alignas(16) static uint8_t arena[ORLOP_ARENA_SIZE];
  return arena;
}

inline uint64_t KeyOf(uint32_t conn, uint32_t generation) {
  return static_cast<uint64_t>(conn) << 32 | generation;
}

inline orlop_endpoint SomeEndpoint() {
  Endpoint to;
  to.addr.bytes[10] = to.addr.bytes[11] = 0xff;
  to.addr.bytes[15] = 9;
  to.port = 80;
  return ToRecord(to);
}

inline void SetText(orlop_engine_answer* answer, int which, uint32_t offset, const char* text) {
  const size_t length = strlen(text);
  memcpy(Arena() + ORLOP_ARENA_ANSWER_TEXT + offset, text, length);
  memcpy(Arena() + ORLOP_ARENA_LATE_TEXT + offset, text, length);
  answer->text[which] = {offset, static_cast<uint32_t>(length)};
}

}  // namespace orlop::fuzz
