// 22 · data thread · a copy of a request of HTTP/1, over a link to its origin that other copies use behind it.
#pragma once

#include <cstddef>
#include <string>

#include "engine/core/byte_end.h"
#include "engine/http/http1_exchange.h"
#include "engine/http/http1_side.h"
#include "engine/http/origin_link.h"
#include "engine/origin/mirror_exchange.h"

namespace orlop {

class MirrorHttp1 final : public MirrorExchange,
                          public OriginLink::User,
                          public ByteEnd::User,
                          public Turn::Task {
 public:
  MirrorHttp1(const EngineServices& services, Mirrors& mirrors,
              std::shared_ptr<const MirroredRequest> request, MirrorTarget target);

  // OriginLink::User.
  void OnOriginOpen() override;
  void OnOriginFailed(CloseCause cause, int detail, std::string_view message) override;
  void OnOriginLost() override;
  // ByteEnd::User.
  void OnReady(ByteEnd&) override { Pump(); }
  void OnReset(ByteEnd&, int) override { Lose(); }
  ssize_t OnPull(ByteEnd& end, const Pieces& into, bool* more) override;
  // Turn::Task.
  void OnAgain() override { Pump(); }

 private:
  void Go() override;
  void Leave() override;
  // The whole request into the queue, and through the exchange that reads its response. False: it cannot be written.
  bool Write();
  void Pump();
  // What of the response has come. False: the copy is over.
  bool Use(bool ended);
  void Answered();
  void Lose() { Stop(MirrorEnd::kLost); }

  OriginLink* link_ = nullptr;
  Http1Exchange exchange_;
  Http1Side out_;
  std::string held_;  // of the response: what was not used
  size_t read_ = 0;
};

}  // namespace orlop
