// 22 · data thread · the origins that TypeScript has defined, and their idle connections. Nothing is shared between pods.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/core/list.h"
#include "engine/core/services.h"
#include "engine/core/timer.h"
#include "engine/core/turn.h"
#include "engine/http/origin_source.h"
#include "engine/origin/connection_places.h"
#include "engine/origin/mirrors.h"
#include "engine/origin/origin.h"
#include "engine/relay/upstreams.h"

namespace orlop {

class Answer;

class OriginPool final : public OriginSource, public Turn::Task {
 public:
  // `upstreams` is complete before the first connection is opened.
  OriginPool(const EngineServices& services, const Upstreams& upstreams)
      : services_(services),
        upstreams_(upstreams),
        look_([](void* self) { static_cast<OriginPool*>(self)->Look(); }, this),
        mirrors_(services, *this) {}

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

  // A connection for it, which has its own deadlines.
  Connection* Dialled(const Origin& origin);

  // Of origins whose connections are capped over all threads (origin_pool_places.cc).
  ConnectionPlaces& places() { return places_; }
  // Its request, which has no connection until this is open, is counted among those that wait. False: as many do already as may.
  bool MayWait(OriginConnection& connection);
  // Null: it hears `OnPlace`, or gets a connection that is idle by then, unless it ends before.
  ConnectionPlaces::Cell TakePlace(OriginConnection& connection);
  // It has ended, or waits no longer.
  void LeavePlace(OriginConnection& connection);
  // Another thread waits for what would be idle here; and nobody here does who may have it.
  bool IsWanted(const OriginConnection& connection) const;
  bool IsWanted(const Origin& origin) const;
  // Turn::Task: who waits here is served.
  void OnAgain() override { ServePlaces(); }

  size_t idle() const { return idle_count_; }

 private:
  template <typename Matches>
  void CloseIdle(Matches matches);
  void Forget(Origin& origin);
  Origin* Find(uint32_t number, uint32_t pod_idx) const;
  OriginConnection* Fresh(Origin& origin, bool may_be_used);
  OriginConnection* FirstAwaiting(ConnectionPlaces::Cell cell) const;
  void ServePlaces();
  // The first that waits there. False: it waits on.
  bool ServePlace(ConnectionPlaces::Cell cell);
  // Gives up what is idle and wanted elsewhere, and looks whether others have given up what is wanted here.
  void Look();
  void LookLater();
  bool HasIdle() const { return idle_count_ > 0 || !idle_sessions_.empty(); }
  void StopAwaiting(OriginConnection& connection);
  // The first waits no longer. Null: nobody does.
  static StreamWaiter* PopWaiter(List<StreamWaiter, StreamWaiter>& waiting);
  // It gets a stream at once, or is counted among those that wait. False: as many do already as may.
  bool MayAwait(Origin& origin, StreamWaiter& waiter);
  // False: nothing of it is idle.
  static bool GiveUpIdle(Origin& origin);
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
  ConnectionPlaces places_;
  // Of each cell those that wait for a place there, the longest first. None is empty for longer than a look.
  std::unordered_map<ConnectionPlaces::Cell, List<OriginConnection, AwaitsPlace>> awaiting_;
  List<Origin, CappedOrigins> capped_;
  size_t placed_ = 0;  // connections with a place
  Timer look_;
  bool looks_soon_ = false;
  uint64_t gives_up_ms_ = 0;  // not before
  bool draining_ = false;
  Mirrors mirrors_;
};

}  // namespace orlop
