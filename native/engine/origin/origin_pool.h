// 22 · data thread · the origins that TypeScript has defined, and their idle connections. Nothing is shared between pods.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/core/list.h"
#include "engine/core/services.h"
#include "engine/http/origin_source.h"
#include "engine/origin/mirrors.h"
#include "engine/origin/origin.h"
#include "engine/relay/upstreams.h"

namespace orlop {

class Answer;

class OriginPool final : public OriginSource {
 public:
  // `upstreams` is complete before the first connection is opened.
  OriginPool(const EngineServices& services, const Upstreams& upstreams)
      : services_(services), upstreams_(upstreams), mirrors_(services, *this) {}

  void Define(const Answer& answer);
  void Drop(uint32_t number);
  // The network namespace of the pod. Another than before: it is another pod, and the origins of the former go.
  void SetPod(uint32_t pod_idx, uint64_t netns_cookie);
  // Its idle connections end; with `forget` its origins are gone as well.
  void RemovePod(uint32_t pod_idx, bool forget);
  // Connections of tunnels with this identity are not kept any longer.
  void RetireIdentity(int32_t identity);
  // No connection is kept any longer.
  void Drain();
  // Ends what there is, at once.
  void Clear();

  // The session for which most bytes wait; null: for none does any.
  OriginSession* Largest() const;

  // OriginSource.
  OriginLink* Take(uint32_t number, uint32_t pod_idx, LinkUse use, OriginLink::User& user) override;
  void AwaitStream(uint32_t number, uint32_t pod_idx, StreamWaiter& waiter) override;
  MirrorRoom& mirrors() override { return mirrors_; }

  // Of sessions of HTTP/2 (origin_pool_streams.cc).
  // Gives streams to those that wait, and opens what is missing.
  void ServeWaiting(Origin& origin);
  // A session of the origin has failed before its far end has said how many streams it takes. Where there is no other, all that wait hear
  // it; else they wait for the others.
  void FailWaiting(Origin& origin, CloseCause cause, int detail, std::string_view message);
  // A session without streams may be kept; and is.
  bool MayIdle(const OriginSession& session) const;
  void KeepIdle(OriginSession& session);

  // Of a connection that is idle. False: there are enough.
  bool Keep(OriginConnection& connection);
  // It is idle no more.
  void Left(const OriginConnection& connection);

  size_t idle() const { return idle_count_; }

 private:
  template <typename Matches>
  void CloseIdle(Matches matches);
  void Forget(Origin& origin);
  Origin* Find(uint32_t number, uint32_t pod_idx) const;
  OriginConnection* Fresh(Origin& origin);
  void OpenSession(Origin& origin);

  const EngineServices& services_;
  const Upstreams& upstreams_;
  std::unordered_map<uint32_t, std::unique_ptr<Origin>> origins_;
  std::unordered_map<uint32_t, uint64_t> pods_;  // their network namespaces
  List<OriginConnection, InPool> all_;
  List<OriginConnection, IdleInPool> idle_;  // of all origins, the longest idle first
  size_t idle_count_ = 0;
  List<OriginSession, SessionOfPool> sessions_;
  List<OriginSession, IdleSessions> idle_sessions_;  // of all origins, the longest idle first
  bool draining_ = false;
  Mirrors mirrors_;
};

}  // namespace orlop
