// 22 · data thread · a copy of a request under way: sent, its response read and dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/core/events.h"
#include "engine/core/hook.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/http/http1_write.h"
#include "engine/http/mirrored_request.h"

namespace orlop {

class HeadEdits;
class Mirrors;

class MirrorExchange : public Turn::Mortal, public Hook<MirrorExchange> {
 public:
  // It is sent. It may be over in this call.
  void Start();
  // At once; its far end hears a reset.
  void Stop(MirrorEnd why) {
    Leave();
    Finish(why);
  }
  bool started() const { return started_; }
  uint32_t pod_idx() const { return pod_idx_; }
  uint32_t origin() const { return target_.origin; }

 protected:
  // Of a response that is longer nobody reads the rest.
  static constexpr size_t kMostRead = 256 * 1024;

  MirrorExchange(const EngineServices& services, Mirrors& mirrors,
                 std::shared_ptr<const MirroredRequest> request, MirrorTarget target);
  virtual void Go() = 0;
  // Lets go of its connection, if it has any.
  virtual void Leave() = 0;
  // Deleted with the turn.
  void Finish(MirrorEnd end);
  bool over() const { return !request_; }
  // How the head is written; `edits` has the pairs.
  Http1Edit EditOf(const Http1Head& head, HeadEdits* edits) const;

  const EngineServices& services_;
  Mirrors& mirrors_;
  std::shared_ptr<const MirroredRequest> request_;  // null: it is over
  const MirrorTarget target_;

 private:
  const uint32_t pod_idx_;
  bool started_ = false;
  Timer deadline_;
};

}  // namespace orlop
