// any thread · class KernelMap, declared in agent/engine/native-maps.ts and
// agent/keeper/addon.ts: one BPF map by its descriptor. Links no libbpf, so that both addons can hold it.
#pragma once

#include <napi.h>

namespace orlop {

// The class, to be exported or instantiated by `new KernelMap(fd)`. Called once per environment (thread).
Napi::Function DefineKernelMap(Napi::Env env);

}  // namespace orlop
