// data thread · what the parts of an engine share. Each part is given this, and no part knows the engine.
#pragma once

#include "engine/core/buffers.h"
#include "engine/core/clock.h"
#include "engine/core/event_queue.h"
#include "engine/core/loop.h"
#include "engine/core/pod_room.h"
#include "engine/core/pod_shares.h"
#include "engine/core/slots.h"
#include "engine/core/stats.h"
#include "engine/core/timers.h"
#include "engine/core/turn.h"

namespace orlop {

struct EngineServices {
  Loop& loop;
  Clock& clock;
  Timers& timers;  // timeouts
  Timers& pauses;
  Buffers& buffers;
  Slots& slots;
  EventQueue& events;
  Turn& turn;
  Stats& stats;
  PodShares& shares;
  PodRoom& room;
};

}  // namespace orlop
