// any thread · bpf(2) on borrowed map descriptors: one element, or the whole map in bulk. Links no libbpf.
#pragma once

#include <napi.h>

namespace orlop {

// Exports the class KernelMap. Called once per environment (thread).
void InitKernelMaps(Napi::Env env, Napi::Object exports);

}  // namespace orlop
