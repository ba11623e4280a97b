// 22 · data thread · a copy of a request of HTTP/2: a stream of a connection that copies share, and requests do not.
#pragma once

#include <cstddef>

#include "engine/http/stream_waiter.h"
#include "engine/http2/h2_session.h"
#include "engine/origin/mirror_exchange.h"

namespace orlop {

class MirrorHttp2 final : public MirrorExchange, public H2Stream, public StreamWaiter, public Turn::Task {
 public:
  MirrorHttp2(const EngineServices& services, Mirrors& mirrors,
              std::shared_ptr<const MirroredRequest> request, MirrorTarget target);

  // StreamWaiter.
  void OnOriginSession(H2Session& session) override;
  void OnNoOriginSession(CloseCause cause, int detail, std::string_view message) override;
  // H2Stream.
  void OnField(std::string_view, std::string_view) override {}
  void OnHead(bool) override {}
  void OnData(const uint8_t* bytes, size_t length) override;
  void OnDataDone() override {}
  void OnEnd() override {}
  ssize_t OnRead(const Pieces& into) override;
  void OnClosed(uint32_t code) override;
  void OnLost(CloseCause cause, int detail, std::string_view message) override;
  // Turn::Task: its response is longer than anybody reads.
  void OnAgain() override { Stop(MirrorEnd::kAnswered); }

 private:
  void Go() override;
  void Leave() override;

  size_t sent_ = 0;  // of the body
  size_t read_ = 0;
};

}  // namespace orlop
