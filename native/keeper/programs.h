// keeper · class Programs, declared in agent/keeper/addon.ts: the eBPF object loaded, pinned, linked and
// updated in place.
#pragma once

#include <napi.h>

namespace orlop {

// Exports the class Programs. Called once per environment.
void InitPrograms(Napi::Env env, Napi::Object exports);

}  // namespace orlop
