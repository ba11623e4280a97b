// keeper · class KernelMap, declared in agent/keeper/addon.ts: one element or all keys of a map of the loaded
// object.
#pragma once

#include <napi.h>

#include <memory>

struct orlop_bpf;
struct bpf_map;

namespace orlop {

// The loaded object. Maps handed to JavaScript keep it, so that no descriptor is closed under them.
struct Loaded {
  struct orlop_bpf* skeleton = nullptr;
  bool closed = false;
  Loaded() = default;
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  ~Loaded();
};

// What a KernelMap is constructed from.
struct MapStart {
  std::shared_ptr<Loaded> loaded;
  struct bpf_map* map = nullptr;
};

Napi::Function DefineKernelMap(Napi::Env env);

// Entries in it now; bytes waiting for a ring buffer; -1 when the type cannot be counted.
int64_t CountEntries(const struct bpf_map* map);

}  // namespace orlop
