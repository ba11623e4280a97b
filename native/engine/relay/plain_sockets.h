// any thread · sockets without a keeper, for tests and benchmarks on a plain machine.
#pragma once

#include <napi.h>

namespace orlop {

// unconnectedSocket(family), listenSocket(address, port).
void InitPlainSockets(Napi::Env env, Napi::Object exports);

}  // namespace orlop
