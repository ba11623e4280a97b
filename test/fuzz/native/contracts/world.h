// fuzz · what an engine's parts share, without an engine: the services, and a turn that runs when the test says so.
#pragma once

#include <uv.h>

#include <cstdint>
#include <random>
#include <string>

#include "engine/core/services.h"

namespace orlop::contracts {

// Prints what was expected and the seed, and ends the process.
[[noreturn]] void Wrong(const char* what);
inline void Expect(bool good, const char* what) {
  if (!good) Wrong(what);
}
void SetSeed(uint32_t seed);

using Random = std::mt19937;
// A number below `most`.
inline size_t Below(Random& random, size_t most) {
  return most == 0 ? 0 : random() % most;
}
std::string SomeBytes(Random& random, size_t length);

class World {
 public:
  World();
  // Expects that no memory is left with connections.
  ~World();
  const EngineServices& services() const { return services_; }
  // What is ready is read and written, and what was put off is done.
  void Turn();

 private:
  void EndTurn();
  uv_loop_t uv_;
  uv_idle_t busy_;  // so that the loop never sleeps
  Loop loop_;
  Clock clock_;
  Timers timers_;
  Timers pauses_;
  Buffers buffers_;
  Slots slots_;
  EventQueue events_;
  orlop::Turn turn_;
  Stats stats_;
  PodShares shares_;
  PodRoom room_{slots_, buffers_, clock_};
  EngineServices services_;
};

}  // namespace orlop::contracts
