// 22 · data thread · copies of requests of this thread's pods: how many, how much, and how each ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/core/list.h"
#include "engine/core/services.h"
#include "engine/core/turn.h"
#include "engine/http/mirrored_request.h"
#include "engine/http/origin_source.h"
#include "engine/origin/mirror_exchange.h"

namespace orlop {

// A copy is dropped where there is no room for it: nothing ever waits for a copy.
class Mirrors final : public MirrorRoom, public Turn::Flushable {
 public:
  Mirrors(const EngineServices& services, OriginSource& origins) : services_(services), origins_(origins) {}

  OriginSource& origins() { return origins_; }
  // What is under way ends, and nothing more is sent.
  void Stop();

  // Of responses so much is read in a turn, all copies together: requests do not wait for what is dropped.
  bool MayRead();
  void Read(size_t bytes) { read_ += bytes; }

  // The origin of this number is dropped: its copies end, as far as they have come.
  void Withdraw(uint32_t origin);

  // From an exchange, once.
  void Ended(MirrorExchange& exchange, MirrorEnd end);

  // MirrorRoom.
  bool Hold(uint32_t pod_idx, size_t bytes) override;
  void Release(uint32_t pod_idx, size_t bytes) override;
  void Send(std::shared_ptr<const MirroredRequest> request, MirrorTarget target) override;
  void Report(uint32_t pod_idx, MirrorEnd why) override;
  // Turn::Flushable: what was sent in this turn.
  void Flush() override;

 private:
  struct OfPod {
    size_t bytes = 0;
    uint32_t open = 0;
  };

  const EngineServices& services_;
  OriginSource& origins_;
  List<MirrorExchange, MirrorExchange> waiting_, open_;
  std::unordered_map<uint32_t, OfPod> pods_;
  std::unordered_map<uint32_t, uint32_t> open_at_;  // by origin
  size_t bytes_ = 0;
  uint64_t turn_ = 0;  // in which was read
  size_t read_ = 0;    // so much
  bool stopped_ = false;
};

}  // namespace orlop
