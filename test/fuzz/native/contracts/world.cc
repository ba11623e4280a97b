// fuzz · services without an engine.
#include "world.h"

#include <cstdio>
#include <cstdlib>

#include "engine/core/arena.h"

namespace orlop::contracts {
namespace {

uint32_t g_seed = 0;

uint8_t* Arena() {
  alignas(16) static uint8_t arena[ORLOP_ARENA_SIZE];
  return arena;
}

uv_loop_t* Initialised(uv_loop_t* loop) {
  Expect(uv_loop_init(loop) == 0, "a loop");
  return loop;
}

}  // namespace

void SetSeed(uint32_t seed) {
  g_seed = seed;
}

void Wrong(const char* what) {
  fprintf(stderr, "seed %u: expected %s\n", g_seed, what);
  abort();
}

std::string SomeBytes(Random& random, size_t length) {
  std::string bytes(length, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

World::World()
    : loop_(Initialised(&uv_)),
      clock_(&uv_),
      timers_(
          &uv_, clock_, Timers::kTimeoutTickMs, [](void* self) { static_cast<World*>(self)->EndTurn(); },
          this),
      pauses_(
          &uv_, clock_, Timers::kPauseTickMs, [](void* self) { static_cast<World*>(self)->EndTurn(); }, this),
      events_(Arena()),
      turn_(loop_),
      shares_(turn_, buffers_, stats_),
      services_{loop_, clock_, timers_, pauses_, buffers_, slots_, events_, turn_, stats_, shares_, room_} {
  uv_idle_init(&uv_, &busy_);
  uv_idle_start(&busy_, [](uv_idle_t*) {});
  Expect(loop_.Open([](void* self) { static_cast<World*>(self)->EndTurn(); }, this) == 0, "an epoll set");
}

World::~World() {
  Turn();
  Expect(buffers_.chunks.bytes_in_use() == 0, "no buffer to outlive its connection");
  loop_.Stop();
  uv_close(reinterpret_cast<uv_handle_t*>(&busy_), nullptr);
  for (Timers* timers : {&timers_, &pauses_})
    uv_close(reinterpret_cast<uv_handle_t*>(timers->handle()), nullptr);
  uv_run(&uv_, UV_RUN_DEFAULT);
  Expect(uv_loop_close(&uv_) == 0, "no handle to be left");
}

void World::EndTurn() {
  turn_.Begin();
  timers_.Run();
  pauses_.Run();
  turn_.RunAgain();
  turn_.FlushDirty();
  turn_.End();
  turn_.Reap();
}

void World::Turn() {
  loop_.Again();
  uv_run(&uv_, UV_RUN_NOWAIT);
}

}  // namespace orlop::contracts
