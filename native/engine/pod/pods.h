// data thread · the pods of an engine: listeners and socket pools, and what removing a pod ends.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/core/descriptor.h"
#include "engine/core/events.h"
#include "engine/pod/pod.h"
#include "engine/pod/socket_source.h"

namespace orlop {

struct EngineServices;

class Pods final : public SocketSource {
 public:
  explicit Pods(const EngineServices& services) : services_(services) {}

  void Set(uint32_t pod_idx, uint64_t netns_cookie, int32_t identity);
  // Null: there is no such pod.
  Pod* Find(uint32_t pod_idx) const;
  // False: there is no such pod.
  bool AddSocket(uint32_t pod_idx, SocketKind kind, Descriptor fd);
  bool Draw(uint32_t pod_idx, SocketKind kind, SocketWaiter* waiter) override;
  // Accepts nothing more for the pod; its open connections go on. With `keep_waiting` those that wait for a socket get it when
  // the pod is set again.
  void Remove(uint32_t pod_idx, bool keep_waiting);
  // Accepts nothing more for any pod.
  void StopAccepting();
  void Clear();

 private:
  SocketPool* PoolOf(uint32_t pod_idx, SocketKind kind);
  void StopAcceptingFor(Pod& pod);
  std::unique_ptr<Pod> TakeWaiting(uint32_t pod_idx, uint64_t netns_cookie);
  const EngineServices& services_;
  std::unordered_map<uint32_t, std::unique_ptr<Pod>> pods_;
  // Removed pods of which connections wait for a socket: no acceptor, and the pools that are waited for.
  std::unordered_map<uint32_t, std::unique_ptr<Pod>> waiting_;
};

}  // namespace orlop
