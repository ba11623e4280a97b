// keeper · class PodThread, declared in agent/keeper/addon.ts: the one thread that enters network namespaces.
#pragma once

#include <napi.h>

namespace orlop {

// Exports the class PodThread. Called once per environment.
void InitPodThread(Napi::Env env, Napi::Object exports);

}  // namespace orlop
