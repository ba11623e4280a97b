// any thread · exports of engine.node. State belongs to an environment (thread), but for identities, which the process shares.
#include <napi.h>

#include <string>

#include "engine/core/descriptor_calls.h"
#include "engine/core/engine_object.h"
#include "engine/core/symbols.h"
#include "engine/kernel/ring_buffer.h"
#include "engine/relay/plain_sockets.h"
#include "engine/tunnel/identities.h"
#include "engine/tunnel/tls_session.h"
#include "shared/args.h"
#include "shared/errno_error.h"
#include "shared/fd_socket.h"
#include "shared/kernel_map.h"

namespace orlop {
namespace {

void ThrowIf(Napi::Env env, const std::string& problem) {
  if (!problem.empty()) Napi::Error::New(env, problem).ThrowAsJavaScriptException();
}

void InstallIdentityCall(const Napi::CallbackInfo& info) {
  int32_t identity = 0;
  std::string chain;
  ByteView key;
  if (!ArgI32(info, 0, &identity) || !ArgString(info, 1, &chain) || !ArgBytes(info, 2, &key)) return;
  ThrowIf(info.Env(), InstallIdentity(identity, chain, key.data, key.size));
}

void InstallRootsCall(const Napi::CallbackInfo& info) {
  std::string pem;
  if (ArgString(info, 0, &pem)) ThrowIf(info.Env(), InstallRoots(pem));
}

void DropIdentityCall(const Napi::CallbackInfo& info) {
  int32_t identity = 0;
  if (ArgI32(info, 0, &identity)) DropIdentity(identity);
}

void AskForHybridCall(const Napi::CallbackInfo& info) {
  bool ask = false;
  if (ArgBool(info, 0, &ask)) AskForHybrid(ask);
}

void UseOwnRecordsCall(const Napi::CallbackInfo& info) {
  bool own = false;
  if (!ArgBool(info, 0, &own)) return;
  const int error = TlsSession::UseOwnRecords(own);
  if (error != 0)
    ThrowErrno(info.Env(), error, "mlock",
               "tls.recordLayer own locks 2 MiB for secrets: raise RLIMIT_MEMLOCK, or set openssl");
}

Napi::Object InitAll(Napi::Env env, Napi::Object exports) {
  const std::string problem = CheckSymbols();
  if (!problem.empty()) {
    ThrowIf(env, "engine.node cannot run here: " + problem);
    return exports;
  }
  InitEngineObject(env, exports);
  exports.Set("installIdentity", Napi::Function::New<InstallIdentityCall>(env, "installIdentity"));
  exports.Set("installRoots", Napi::Function::New<InstallRootsCall>(env, "installRoots"));
  exports.Set("dropIdentity", Napi::Function::New<DropIdentityCall>(env, "dropIdentity"));
  exports.Set("askForHybrid", Napi::Function::New<AskForHybridCall>(env, "askForHybrid"));
  exports.Set("useOwnRecords", Napi::Function::New<UseOwnRecordsCall>(env, "useOwnRecords"));
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
