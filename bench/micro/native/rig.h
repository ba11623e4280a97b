// bench · instructions · an engine between a peer's tunnel and applications, on socket pairs; its clock does not move.
#pragma once

#include <uv.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/engine.h"

namespace orlop::bench {

class Rig {
 public:
  // A peer is there, through its handshake. Its CONNECTs are answered so: ORLOP_ANSWER_DIAL, with this reading, or …_REFUSE. Requests on
  // connections that are read go on. Calls are answered …_RELAY, or …_SERVE: then each request goes to the same origin.
  // There are at most so many applications at a time.
  Rig(uint32_t answer, HttpReading reading, size_t most_applications);
  explicit Rig(uint32_t answer) : Rig(answer, HttpReading::kUnread, 4) {}
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // The peer says it, and the engine works until it has nothing more to do.
  void Say(const std::string& bytes);
  // An application of the pod connects and is relayed to another application.
  void Call();
  // The last caller says it; or each of them.
  void CallerSays(const std::string& bytes);
  void CallersSay(const std::string& bytes);
  // The last caller ends its half, and who was called does the same.
  void EndCall();
  // The application that serves the tunnel's first stream says it.
  void ApplicationSays(const std::string& bytes);
  // Each application that has heard something since the engine last began to work says it.
  void AskedSay(const std::string& bytes);
  // Bytes that the peer and all applications got.
  uint64_t peer_heard() const { return peer_heard_; }
  uint64_t applications_heard() const { return applications_heard_; }
  uint64_t callers_heard() const { return callers_heard_; }

 private:
  static int32_t Handle(void* self, uint32_t events);
  int32_t Answer(uint32_t events);
  void Write(int32_t place, orlop_engine_answer answer);
  void Refill(const orlop_engine_event& event);
  void Work();

  uint32_t answer_;
  HttpReading reading_;
  size_t most_applications_;
  Engine* engine_;
  int peer_ = -1;
  std::vector<int> applications_;
  std::vector<int> asked_;
  std::vector<int> callers_;
  int listener_;
  uint64_t peer_heard_ = 0;
  uint64_t applications_heard_ = 0;
  uint64_t callers_heard_ = 0;
};

}  // namespace orlop::bench
