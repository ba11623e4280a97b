// any thread · class FdSocket, declared in agent/keeper/addon.ts: packets with
// descriptors on the calling thread's loop.
#pragma once

#include <napi.h>

namespace orlop {

// Exports the class FdSocket. Called once per environment.
void InitFdSocket(Napi::Env env, Napi::Object exports);

}  // namespace orlop
