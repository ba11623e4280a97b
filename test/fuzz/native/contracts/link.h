// fuzz · two HTTP/2 sessions with memory between them.
#pragma once

#include <cstdint>
#include <string>

#include "engine/core/clock.h"
#include "engine/http2/h2_handler.h"
#include "engine/http2/h2_session.h"
#include "world.h"

namespace orlop::contracts {

// Small windows, so that they are soon used up.
H2Options SmallOptions(Role role);

// Either of the two: what it writes is wanted whenever the link works, so OnOutput has nothing to do.
class Side : public H2Handler {
 public:
  Side(const World& world, const H2Options& options) : toll(world.services().clock), session(*this, toll) {
    toll.Use(&budget);
    Expect(session.Open(options), "a session to open");
  }
  H2Stream* OnRequest() override { return nullptr; }
  void OnGoaway() override { goaway = true; }
  void OnStreamGone() override { gone++; }
  void OnOutput() override {}
  Budget budget;
  Toll toll;
  uint64_t turn = 0;
  H2Session session;
  bool goaway = false;
  int gone = 0;
};

// Frames as they go over the wire, one behind the other. False: nghttp2 failed.
bool Produce(Side& from, std::string* frames);

// Carries what both have to say, in parts of any length, until neither says anything. False: a session wants to end, or is slowed.
bool Exchange(Side& one, Side& other, Random& random);

}  // namespace orlop::contracts
