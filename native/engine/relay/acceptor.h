// 4 · data thread · one listening socket of a pod, shared with other threads and with the keeper, which holds
// it.
#pragma once

#include <cstdint>

#include "engine/core/descriptor.h"
#include "engine/core/events.h"
#include "engine/core/loop.h"

namespace orlop {

class Engine;

class Acceptor final : public Pollable {
 public:
  Acceptor(Engine& engine, uint32_t pod_idx, ListenerKind kind, Descriptor fd);
  virtual ~Acceptor() = default;
  bool Open();
  void OnReady(uint32_t events) override;

 private:
  void Take(Descriptor fd, const struct sockaddr_storage& address, uint32_t length);
  Engine& engine_;
  uint32_t pod_idx_;
  ListenerKind kind_;
  Descriptor fd_;
};

}  // namespace orlop
