// any thread · exports of engine.node. State belongs to an environment (thread), but for
// identities.
#include <napi.h>

#include <memory>
#include <string>

#include "engine/core/descriptor_calls.h"
#include "engine/core/descriptors.h"
#include "engine/core/engine.h"
#include "engine/core/symbols.h"
#include "engine/kernel/ring_buffer.h"
#include "engine/relay/plain_sockets.h"
#include "engine/tunnel/identities.h"
#include "shared/fd_socket.h"
#include "shared/kernel_map.h"

namespace orlop {
namespace {

// The JavaScript object. Holds itself alive until closed, and closes when its thread ends first.
class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    exports.Set("Engine", DefineClass(env, "Engine",
                                      {
                                          InstanceAccessor<&EngineObject::Arena>("arena"),
                                          InstanceMethod<&EngineObject::SetPod>("setPod"),
                                          InstanceMethod<&EngineObject::AddListener>("addListener"),
                                          InstanceMethod<&EngineObject::RemovePod>("removePod"),
                                          InstanceMethod<&EngineObject::AddSockets>("addSockets"),
                                          InstanceMethod<&EngineObject::SetFlowMap>("setFlowMap"),
                                          InstanceMethod<&EngineObject::Submit>("submit"),
                                          InstanceMethod<&EngineObject::Counters>("counters"),
                                          InstanceMethod<&EngineObject::GetStats>("stats"),
                                          InstanceMethod<&EngineObject::RetireTunnels>("retireTunnels"),
                                          InstanceMethod<&EngineObject::SetBufferBudget>("setBufferBudget"),
                                          InstanceMethod<&EngineObject::SetTunnelTimes>("setTunnelTimes"),
                                          InstanceMethod<&EngineObject::Drain>("drain"),
                                          InstanceMethod<&EngineObject::Close>("close"),
                                      }));
  }

  explicit EngineObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<EngineObject>(info), context_(info.Env(), "orlop.engine") {
    const Napi::Env env = info.Env();
    uv_loop_t* uv = nullptr;
    if (!info[0].IsFunction() || napi_get_uv_event_loop(env, &uv) != napi_ok) {
      Napi::TypeError::New(env, "Engine wants a handler").ThrowAsJavaScriptException();
      return;
    }
    handler_ = Napi::Persistent(info[0].As<Napi::Function>());
    Napi::ArrayBuffer arena = Napi::ArrayBuffer::New(env, ORLOP_ARENA_SIZE);
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
      Napi::Error::New(env, "epoll: errno " + std::to_string(error)).ThrowAsJavaScriptException();
    }
  }

 private:
  // Inside a turn, on uv's stack: MakeCallback runs ticks and microtasks afterwards, as Node does for its own
  // handles.
  static int32_t Call(void* object, uint32_t events) {
    auto* self = static_cast<EngineObject*>(object);
    if (self->environment_ended_) return -1;
    const Napi::Env env = self->Env();
    const Napi::HandleScope scope(env);
    const Napi::Value result =
        self->handler_.MakeCallback(self->Value(), {Napi::Number::New(env, events)}, self->context_);
    if (env.IsExceptionPending()) {
      // batch.ts catches what a decision throws; what comes here is the batch itself, and nobody was decided:
      // the deadlines refuse them. The exception is told the usual way.
      const Napi::Error error = env.GetAndClearPendingException();
      napi_fatal_exception(env, error.Value());
      return -1;
    }
    return result.IsNumber() ? result.As<Napi::Number>().Int32Value() : -1;
  }

  Napi::Value Arena(const Napi::CallbackInfo&) { return arena_.Value(); }

  void SetPod(const Napi::CallbackInfo& info) {
    bool lossless = true;
    if (!Live(info) || !info[1].IsBigInt()) return;
    engine_->SetPod(Number(info[0]), info[1].As<Napi::BigInt>().Uint64Value(&lossless), Signed(info[2]));
  }

  void AddListener(const Napi::CallbackInfo& info) {
    if (!Live(info)) return;
    const uint32_t kind = Number(info[1]);
    if (kind > 2 ||
        !engine_->AddListener(Number(info[0]), static_cast<ListenerKind>(kind), Signed(info[2]))) {
      Napi::Error::New(info.Env(), "no such pod, or the descriptor is no listening socket")
          .ThrowAsJavaScriptException();
    }
  }

  void RemovePod(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->RemovePod(Number(info[0]), info[1].ToBoolean());
  }

  void AddSockets(const Napi::CallbackInfo& info) {
    if (!Live(info) || !info[2].IsTypedArray()) return;
    const uint32_t kind = Number(info[1]);
    const auto fds = info[2].As<Napi::Int32Array>();
    if (kind >= kSocketKinds) return;
    for (size_t i = 0; i < fds.ElementLength(); i++) {
      engine_->AddSocket(Number(info[0]), static_cast<SocketKind>(kind), fds[i]);
    }
  }

  void SetFlowMap(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->SetFlowMap(Signed(info[0]));
  }

  void Submit(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->Submit();
  }

  Napi::Value Counters(const Napi::CallbackInfo& info) {
    uint64_t sent = 0, received = 0;
    if (!Live(info) || !engine_->Counters({Number(info[0]), Number(info[1])}, &sent, &received)) {
      return info.Env().Undefined();
    }
    Napi::Array pair = Napi::Array::New(info.Env(), 2);
    pair.Set(0u, static_cast<double>(sent));
    pair.Set(1u, static_cast<double>(received));
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
    set("bufferBytes", engine_ ? static_cast<double>(engine_->chunks().bytes_in_use()) : 0);
    set("openDescriptors", static_cast<double>(OpenDescriptors()));
    set("shedTotal", static_cast<double>(stats.shed));
    set("acceptedTotal", static_cast<double>(stats.accepted));
    set("tunnelsDialledTotal", engine_ ? static_cast<double>(engine_->tunnels().dialled()) : 0);
    set("batches", static_cast<double>(stats.batches));
    set("events", engine_ ? static_cast<double>(engine_->events().total()) : 0);
    return out;
  }

  void RetireTunnels(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->RetireTunnels(Signed(info[0]));
  }

  void SetBufferBudget(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->SetBufferBudget(Number(info[0]));
  }

  void SetTunnelTimes(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->SetTunnelTimes({Number(info[0]), Number(info[1]), Number(info[2])});
  }

  void Drain(const Napi::CallbackInfo& info) {
    if (Live(info)) engine_->Drain();
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

  bool Live(const Napi::CallbackInfo&) const { return engine_ != nullptr && !closing_; }
  static uint32_t Number(const Napi::Value& value) { return value.ToNumber().Uint32Value(); }
  static int32_t Signed(const Napi::Value& value) { return value.ToNumber().Int32Value(); }

  Napi::AsyncContext context_;
  Napi::FunctionReference handler_;
  Napi::Reference<Napi::ArrayBuffer> arena_;
  Engine* engine_ = nullptr;
  napi_async_cleanup_hook_handle hook_ = nullptr;
  bool closing_ = false;
  bool environment_ended_ = false;
};

void ThrowIf(Napi::Env env, const std::string& problem) {
  if (!problem.empty()) Napi::Error::New(env, problem).ThrowAsJavaScriptException();
}

void InstallIdentityCall(const Napi::CallbackInfo& info) {
  if (!info[2].IsTypedArray()) return ThrowIf(info.Env(), "installIdentity wants the key as bytes");
  const std::string chain = info[1].ToString();
  const auto key = info[2].As<Napi::Uint8Array>();
  ThrowIf(info.Env(),
          InstallIdentity(info[0].ToNumber().Int32Value(), chain, key.Data(), key.ElementLength()));
}

void InstallRootsCall(const Napi::CallbackInfo& info) {
  const std::string pem = info[0].ToString();
  ThrowIf(info.Env(), InstallRoots(pem));
}

void DropIdentityCall(const Napi::CallbackInfo& info) {
  DropIdentity(info[0].ToNumber().Int32Value());
}

Napi::Object InitAll(Napi::Env env, Napi::Object exports) {
  const std::string problem = CheckSymbols();
  if (!problem.empty()) {
    ThrowIf(env, "engine.node cannot run here: " + problem);
    return exports;
  }
  EngineObject::Init(env, exports);
  exports.Set("installIdentity", Napi::Function::New<InstallIdentityCall>(env, "installIdentity"));
  exports.Set("installRoots", Napi::Function::New<InstallRootsCall>(env, "installRoots"));
  exports.Set("dropIdentity", Napi::Function::New<DropIdentityCall>(env, "dropIdentity"));
  InitPlainSockets(env, exports);
  InitDescriptorCalls(env, exports);
  exports.Set("KernelMap", DefineKernelMap(env));
  InitRingBuffer(env, exports);
  InitFdSocket(env, exports);
  return exports;
}

}  // namespace
}  // namespace orlop

static Napi::Object InitEngine(Napi::Env env, Napi::Object exports) {
  return orlop::InitAll(env, exports);
}

NODE_API_MODULE(engine, InitEngine)
