// keeper · exports of keeper.node: libbpf, setns and descriptors; no TLS, no HTTP, nothing that parses a
// network's bytes.
#include <napi.h>

#include "keeper/pod_thread.h"
#include "keeper/programs.h"
#include "shared/fd_socket.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  orlop::InitFdSocket(env, exports);
  orlop::InitPrograms(env, exports);
  orlop::InitPodThread(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(keeper, Init)
