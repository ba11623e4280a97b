// main thread · consumes a borrowed BPF ring buffer: the events that the hooks sent, oldest first. Links no libbpf.
#pragma once

#include <napi.h>

namespace orlop {

// Exports the class RingBuffer. Called once per environment (thread).
void InitRingBuffer(Napi::Env env, Napi::Object exports);

}  // namespace orlop
