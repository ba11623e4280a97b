// data thread · the class Engine of engine.node: the JavaScript object around an Engine. Arguments are checked here.
#include "engine/core/engine_object.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/descriptor.h"
#include "engine/core/engine.h"
#include "shared/args.h"
#include "shared/errno_error.h"

namespace orlop {
namespace {

// Holds itself alive until closed, and closes when its thread ends first.
class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    exports.Set("Engine", DefineClass(env, "Engine",
                                      {
                                          InstanceAccessor<&EngineObject::Arena>("arena"),
                                          InstanceMethod<&EngineObject::SetPod>("setPod"),
                                          InstanceMethod<&EngineObject::AddListener>("addListener"),
                                          InstanceMethod<&EngineObject::LeavePod>("leavePod"),
                                          InstanceMethod<&EngineObject::RemovePod>("removePod"),
                                          InstanceMethod<&EngineObject::AddSockets>("addSockets"),
                                          InstanceMethod<&EngineObject::SetFlowMap>("setFlowMap"),
                                          InstanceMethod<&EngineObject::Submit>("submit"),
                                          InstanceMethod<&EngineObject::SpendTime>("spendTime"),
                                          InstanceMethod<&EngineObject::Counters>("counters"),
                                          InstanceMethod<&EngineObject::Transport>("transport"),
                                          InstanceMethod<&EngineObject::GetStats>("stats"),
                                          InstanceMethod<&EngineObject::RetireTunnels>("retireTunnels"),
                                          InstanceMethod<&EngineObject::CheckPeers>("checkPeers"),
                                          InstanceMethod<&EngineObject::SetBufferBudget>("setBufferBudget"),
                                          InstanceMethod<&EngineObject::SetUnread>("setUnread"),
                                          InstanceMethod<&EngineObject::SetPodLimits>("setPodLimits"),
                                          InstanceMethod<&EngineObject::SetTunnelTimes>("setTunnelTimes"),
                                          InstanceMethod<&EngineObject::ShareConnections>("shareConnections"),
                                          InstanceMethod<&EngineObject::Drain>("drain"),
                                          InstanceMethod<&EngineObject::Close>("close"),
                                      }));
  }

  explicit EngineObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<EngineObject>(info), context_(info.Env(), "orlop.engine") {
    const Napi::Env env = info.Env();
    uv_loop_t* uv = nullptr;
    Napi::Function handler;
    if (!ArgFunction(info, 0, &handler)) return;
    if (napi_get_uv_event_loop(env, &uv) != napi_ok) {
      Napi::Error::New(env, "this thread has no event loop").ThrowAsJavaScriptException();
      return;
    }
    Napi::ArrayBuffer arena = Napi::ArrayBuffer::New(env, ORLOP_ARENA_SIZE);
    // No memory, or the thread is terminated in this call: then JavaScript never gets this object.
    if (arena.IsEmpty()) return;
    handler_ = Napi::Persistent(handler);
    arena_ = Napi::Persistent(arena);
    engine_ = new Engine(uv, static_cast<uint8_t*>(arena.Data()), Call, this);
    const int error = engine_->Open();
    // From here on the handles are libuv's, so even a failed engine is closed in order.
    Ref();
    napi_add_async_cleanup_hook(
        env,
        [](napi_async_cleanup_hook_handle, void* self) {
          static_cast<EngineObject*>(self)->EnvironmentEnds();
        },
        this, &hook_);
    if (error != 0) {
      CloseNow();
      ThrowErrno(env, error, "epoll_create1");
    }
  }

 private:
  // Inside a turn, on libuv's stack. MakeCallback runs ticks and microtasks afterwards, as Node does for its handles.
  static int32_t Call(void* object, uint32_t events) {
    auto* self = static_cast<EngineObject*>(object);
    if (self->environment_ended_) return -1;
    const Napi::Env env = self->Env();
    const Napi::HandleScope scope(env);
    const Napi::Value result =
        self->handler_.MakeCallback(self->Value(), {Napi::Number::New(env, events)}, self->context_);
    if (env.IsExceptionPending()) {
      // batch.ts catches what a decision throws. What arrives here is a fault of the batch itself, so no event of
      // it has an answer: the deadlines refuse them. The exception becomes the uncaught exception of the process.
      const Napi::Error error = env.GetAndClearPendingException();
      napi_fatal_exception(env, error.Value());
      return -1;
    }
    return result.IsNumber() ? result.As<Napi::Number>().Int32Value() : -1;
  }

  Napi::Value Arena(const Napi::CallbackInfo&) { return arena_.Value(); }

  void SetPod(const Napi::CallbackInfo& info) {
    uint32_t pod_idx = 0;
    uint64_t netns_cookie = 0;
    int32_t identity = 0;
    if (!ArgU32(info, 0, &pod_idx) || !ArgU64(info, 1, &netns_cookie) || !ArgI32(info, 2, &identity)) return;
    if (Live()) engine_->SetPod(pod_idx, netns_cookie, identity);
  }

  // The engine owns the descriptor also when this throws, so it is taken before anything else is checked.
  void AddListener(const Napi::CallbackInfo& info) {
    int number = -1;
    if (!ArgFd(info, 2, &number)) return;
    Descriptor fd(number);
    uint32_t pod_idx = 0;
    int64_t kind = 0;
    if (!ArgU32(info, 0, &pod_idx) || !ArgInt(info, 1, 0, kListenerKinds - 1, &kind) || !Live()) return;
    if (engine_->AddListener(pod_idx, static_cast<ListenerKind>(kind), std::move(fd))) return;
    Napi::Error::New(info.Env(), "no such pod, or the descriptor is no listening socket")
        .ThrowAsJavaScriptException();
  }

  void LeavePod(const Napi::CallbackInfo& info) {
    uint32_t pod_idx = 0;
    if (ArgU32(info, 0, &pod_idx) && Live()) engine_->LeavePod(pod_idx);
  }

  void RemovePod(const Napi::CallbackInfo& info) {
    uint32_t pod_idx = 0;
    bool cut = false;
    if (!ArgU32(info, 0, &pod_idx) || !ArgBool(info, 1, &cut)) return;
    if (Live()) engine_->RemovePod(pod_idx, cut);
  }

  // As AddListener: the descriptors are the engine's from here on.
  void AddSockets(const Napi::CallbackInfo& info) {
    std::vector<int> numbers;
    if (!ArgFds(info, 2, &numbers)) return;
    std::vector<Descriptor> fds;
    for (const int number : numbers) fds.emplace_back(number);
    uint32_t pod_idx = 0;
    int64_t kind = 0;
    if (!ArgU32(info, 0, &pod_idx) || !ArgInt(info, 1, 0, kSocketKinds - 1, &kind) || !Live()) return;
    for (Descriptor& fd : fds) engine_->AddSocket(pod_idx, static_cast<SocketKind>(kind), std::move(fd));
  }

  void SetFlowMap(const Napi::CallbackInfo& info) {
    int fd = -1;
    if (ArgFd(info, 0, &fd) && Live()) engine_->SetFlowMap(fd);
  }

  void Submit(const Napi::CallbackInfo&) {
    if (Live()) engine_->Submit();
  }

  void SpendTime(const Napi::CallbackInfo& info) {
    uint32_t pod_idx = 0, us = 0;
    if (ArgU32(info, 0, &pod_idx) && ArgU32(info, 1, &us) && Live()) engine_->SpendTime(pod_idx, us);
  }

  Napi::Value Counters(const Napi::CallbackInfo& info) {
    SlotRef ref;
    uint64_t sent = 0, received = 0;
    if (!ArgU32(info, 0, &ref.index) || !ArgU32(info, 1, &ref.generation)) return info.Env().Undefined();
    if (!Live() || !engine_->Counters(ref, &sent, &received)) return info.Env().Undefined();
    Napi::Array pair = Napi::Array::New(info.Env(), 2);
    pair.Set(0u, static_cast<double>(sent));
    pair.Set(1u, static_cast<double>(received));
    return pair;
  }

  Napi::Value Transport(const Napi::CallbackInfo& info) {
    SlotRef ref;
    bool upstream = false;
    uint32_t rtt_us = 0, retransmits = 0;
    if (!ArgU32(info, 0, &ref.index) || !ArgU32(info, 1, &ref.generation) || !ArgBool(info, 2, &upstream)) {
      return info.Env().Undefined();
    }
    if (!Live() || !engine_->Transport(ref, upstream, &rtt_us, &retransmits)) return info.Env().Undefined();
    Napi::Array pair = Napi::Array::New(info.Env(), 2);
    pair.Set(0u, rtt_us);
    pair.Set(1u, retransmits);
    return pair;
  }

  Napi::Value GetStats(const Napi::CallbackInfo& info) {
    Napi::Object out = Napi::Object::New(info.Env());
    const Stats stats = engine_ ? engine_->stats() : Stats();
    const auto set = [&out](const char* name, double value) { out.Set(name, value); };
    set("connections", static_cast<double>(stats.connections));
    set("tunnels", static_cast<double>(stats.tunnels));
    set("streams", static_cast<double>(stats.streams));
    set("handshakes", static_cast<double>(stats.handshakes));
    set("bufferBytes", engine_ ? static_cast<double>(engine_->buffer_bytes()) : 0);
    set("openDescriptors", static_cast<double>(OpenDescriptors()));
    set("shedTotal", static_cast<double>(stats.shed));
    set("acceptedTotal", static_cast<double>(stats.accepted));
    set("tunnelsDialledTotal", engine_ ? static_cast<double>(engine_->tunnels_dialled()) : 0);
    set("tunnelGroups", engine_ ? static_cast<double>(engine_->tunnel_groups()) : 0);
    set("abandoned", engine_ ? static_cast<double>(engine_->abandoned()) : 0);
    set("batches", static_cast<double>(stats.batches));
    set("slowedTotal", static_cast<double>(stats.slowed));
    set("mostWork", static_cast<double>(stats.most_work));
    set("mostRequests", static_cast<double>(stats.most_requests));
    set("events", engine_ ? static_cast<double>(engine_->events_total()) : 0);
    return out;
  }

  void RetireTunnels(const Napi::CallbackInfo& info) {
    int32_t identity = 0;
    if (ArgI32(info, 0, &identity) && Live()) engine_->RetireTunnels(identity);
  }

  void CheckPeers(const Napi::CallbackInfo&) {
    if (Live()) engine_->CheckPeers();
  }

  void SetBufferBudget(const Napi::CallbackInfo& info) {
    uint32_t bytes = 0;
    if (ArgU32(info, 0, &bytes) && Live()) engine_->SetBufferBudget(bytes);
  }

  void SetUnread(const Napi::CallbackInfo& info) {
    uint32_t ms = 0;
    if (ArgU32(info, 0, &ms) && Live()) engine_->SetUnread(ms);
  }

  void SetPodLimits(const Napi::CallbackInfo& info) {
    uint32_t open = 0, heads = 0;
    if (!ArgU32(info, 0, &open) || !ArgU32(info, 1, &heads)) return;
    if (Live()) engine_->SetPodLimits({open, heads});
  }

  void SetTunnelTimes(const Napi::CallbackInfo& info) {
    uint32_t ping_every = 0, ping_answer = 0, owed = 0, idle = 0, patience = 0, served_on = 0;
    if (!ArgU32(info, 0, &ping_every) || !ArgU32(info, 1, &ping_answer) || !ArgU32(info, 2, &owed) ||
        !ArgU32(info, 3, &idle) || !ArgU32(info, 4, &patience) || !ArgU32(info, 5, &served_on))
      return;
    if (Live()) engine_->SetTunnelTimes({ping_every, ping_answer, owed, idle, patience, served_on});
  }

  // The words are shared memory, which other threads have as well. They are kept as long as this object.
  void ShareConnections(const Napi::CallbackInfo& info) {
    uint32_t thread = 0, threads = 0;
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array) {
      BadArgument(info, 0, "a BigUint64Array");
      return;
    }
    if (!ArgU32(info, 1, &thread) || !ArgU32(info, 2, &threads) || !Live()) return;
    auto words = info[0].As<Napi::BigUint64Array>();
    if (!engine_->places().Share(words.Data(), words.ElementLength(), thread, threads)) {
      BadArgument(info, 0, "cells of so many threads");
      return;
    }
    places_ = Napi::Persistent(words.As<Napi::Object>());
  }

  void Drain(const Napi::CallbackInfo&) {
    if (Live()) engine_->Drain();
  }

  void Close(const Napi::CallbackInfo&) { CloseNow(); }

  void CloseNow() {
    if (closing_ || !engine_) return;
    closing_ = true;
    engine_->Close([](void* self) { static_cast<EngineObject*>(self)->Closed(); }, this);
  }

  void EnvironmentEnds() {
    environment_ended_ = true;
    if (!engine_) return RemoveHook();
    CloseNow();
  }

  // libuv has let go of everything.
  void Closed() {
    delete engine_;
    engine_ = nullptr;
    RemoveHook();
    if (environment_ended_) return;
    const Napi::HandleScope scope(Env());
    Unref();
  }

  void RemoveHook() {
    if (hook_) napi_remove_async_cleanup_hook(hook_);
    hook_ = nullptr;
  }

  // After close(), calls do nothing: what they were for has ended.
  bool Live() const { return engine_ != nullptr && !closing_; }

  Napi::AsyncContext context_;
  Napi::FunctionReference handler_;
  Napi::Reference<Napi::ArrayBuffer> arena_;
  Napi::ObjectReference places_;
  Engine* engine_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool closing_ = false;
  bool environment_ended_ = false;
};

}  // namespace

void InitEngineObject(Napi::Env env, Napi::Object exports) {
  EngineObject::Init(env, exports);
}

}  // namespace orlop
