// 10 · data thread · a CONNECT whose connection has ended before the peer answered it. A RST_STREAM now would be a rapid reset
// (CVE-2023-44487), for which a peer ends the whole tunnel; so it is sent when the answer has come.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/http2/h2_stream.h"

namespace orlop {

class Tunnel;

// Owns itself, and is buried when the stream has left its session. The tunnel counts it and outlives it.
class AbandonedStream final : public H2Stream, public Turn::Mortal {
 public:
  // Takes over from `stream`. Without an answer after `overdue_ms` the tunnel takes no new streams.
  AbandonedStream(const EngineServices& services, Tunnel& tunnel, H2Stream& stream, uint64_t overdue_ms);

  // H2Stream.
  void OnField(std::string_view name, std::string_view value) override;
  void OnHead(bool ends) override;
  void OnData(const uint8_t* bytes, size_t length) override;
  void OnDataDone() override {}
  void OnEnd() override {}
  ssize_t OnRead(const Pieces&) override;
  void OnClosed(uint32_t code) override;
  void OnLost(CloseCause, int, std::string_view) override { Gone(); }

 private:
  void Gone();
  const EngineServices& services_;
  Tunnel& tunnel_;
  bool interim_ = false;  // the head that comes is an interim response
  Timer overdue_;
};

}  // namespace orlop
