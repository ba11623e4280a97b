// fuzz · one engine on socket pairs: every far end is the fuzzer's, and so is the clock.
// No network, no Node.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/engine.h"

namespace orlop::fuzz {

// What the engine asked and has not been answered.
struct Asked {
  uint32_t type;
  uint32_t conn;
  uint32_t generation;
  int32_t request;
};

class Rig {
 public:
  // Which answer the n-th event gets is the input's to say: `choices` are used in a ring.
  Rig(const uint8_t* choices, size_t count);
  // Ends the engine and aborts when anything of it is left. With the highest bit of the first choice everything ends by itself before.
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // A peer connects to :15008 and is through its handshake; an application connects to :15001.
  void PeerComes();
  void ApplicationComes();
  // The far ends by number, in the order they came: peers, applications, and whom the engine dialled.
  void Say(uint8_t who, const uint8_t* bytes, size_t length);
  void EndHalf(uint8_t who);
  void Close(uint8_t who);
  // From now on nobody (or everybody again) reads what the engine sends.
  void Listen(bool listen) { listening_ = listen; }
  void Pass(uint64_t ms);
  // Lets a next call of the engine to the kernel fail.
  void Fail(uint8_t how);
  // A late answer to the oldest open question.
  void AnswerLate(uint8_t choice);
  void RemovePod(bool cut);
  void Retire();
  void Drain();
  // Lets the engine work until nothing is left to do.
  void Turn();

 private:
  static int32_t Handle(void* self, uint32_t events);
  int32_t Answer(uint32_t events);
  bool Choose(const orlop_engine_event& event, uint8_t choice, orlop_engine_answer* answer);
  void DefineOrigins();
  // Asks for copies of the request that `forward` is about.
  void Mirror(const orlop_engine_answer& forward, uint8_t choice);
  void Refill(const orlop_engine_event& event);
  // Aborts unless the engine forgets everything when its far ends are gone.
  void EndByItself();
  int FarEnd(int* near);
  void Hear();
  uint8_t NextChoice();

  const uint8_t* choices_;
  size_t choice_count_;
  size_t next_choice_ = 0;
  int first_free_;
  Engine* engine_;
  std::vector<int> far_ends_;
  std::vector<Asked> asked_;
  std::vector<uint64_t> alive_;
  // Connections with open requests, and their numbers: of HTTP/1 at most a single number.
  std::map<uint64_t, std::set<int32_t>> requests_;
  uint64_t copies_ = 0;  // that were asked for, and may end yet
  bool listening_ = true;
  bool pod_here_ = true;
  bool asked_again_ = false;  // of a websocket, whose request has ended already
};

}  // namespace orlop::fuzz
