// keeper · class KernelMap, declared in agent/keeper/addon.ts: one element or all keys of a map of the loaded
// object.
#include "keeper/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "orlop.skel.h"
#include "shared/args.h"
#include "shared/errno_error.h"

namespace orlop {
namespace {

bool IsPerCpu(const struct bpf_map* map) {
  const enum bpf_map_type type = bpf_map__type(map);
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

// A sockhash gives out cookies and takes in descriptors, both of eight bytes.
uint32_t ValueBytes(const struct bpf_map* map) {
  const uint32_t size = bpf_map__value_size(map);
  if (!IsPerCpu(map)) return size;
  return ((size + 7) & ~7u) * static_cast<uint32_t>(std::max(1, libbpf_num_possible_cpus()));
}

class KernelMap : public Napi::ObjectWrap<KernelMap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "KernelMap",
                       {
                           InstanceAccessor<&KernelMap::Name>("name"),
                           InstanceAccessor<&KernelMap::Fd>("fd"),
                           InstanceAccessor<&KernelMap::KeyBytes>("keyBytes"),
                           InstanceAccessor<&KernelMap::ValueBytesOf>("valueBytes"),
                           InstanceAccessor<&KernelMap::MaxEntries>("maxEntries"),
                           InstanceMethod<&KernelMap::Get>("get"),
                           InstanceMethod<&KernelMap::Put>("put"),
                           InstanceMethod<&KernelMap::Delete>("delete"),
                           InstanceMethod<&KernelMap::Keys>("keys"),
                       });
  }

  explicit KernelMap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<KernelMap>(info) {
    if (!info[0].IsExternal()) {
      BadArgument(info, 0, "made by Programs.map");
      return;
    }
    const MapStart* start = info[0].As<Napi::External<MapStart>>().Data();
    loaded_ = start->loaded;
    map_ = start->map;
    key_bytes_ = bpf_map__key_size(map_);
    value_bytes_ = ValueBytes(map_);
  }

 private:
  Napi::Value Name(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), bpf_map__name(map_));
  }
  Napi::Value Fd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), bpf_map__fd(map_)); }
  Napi::Value KeyBytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), key_bytes_); }
  Napi::Value ValueBytesOf(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), value_bytes_);
  }
  Napi::Value MaxEntries(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), bpf_map__max_entries(map_));
  }

  bool Open(const Napi::CallbackInfo& info) const {
    if (!loaded_->closed) return true;
    ThrowErrno(info.Env(), EBADF, "KernelMap", "the programs are closed");
    return false;
  }
  void Throw(const Napi::CallbackInfo& info, int err, const char* syscall) const {
    ThrowErrno(info.Env(), -err, syscall, bpf_map__name(map_));
  }

  Napi::Value Get(const Napi::CallbackInfo& info) {
    ByteView key;
    if (!Open(info) || !ArgBytes(info, 0, key_bytes_, &key)) return info.Env().Undefined();
    std::vector<uint8_t> value(value_bytes_);
    const int err = bpf_map_lookup_elem(bpf_map__fd(map_), key.data, value.data());
    if (err == -ENOENT) return info.Env().Undefined();
    if (err < 0) {
      Throw(info, err, "bpf(BPF_MAP_LOOKUP_ELEM)");
      return info.Env().Undefined();
    }
    return Napi::Buffer<uint8_t>::Copy(info.Env(), value.data(), value.size());
  }

  void Put(const Napi::CallbackInfo& info) {
    ByteView key, value;
    if (!Open(info) || !ArgBytes(info, 0, key_bytes_, &key) || !ArgBytes(info, 1, value_bytes_, &value))
      return;
    const int err = bpf_map_update_elem(bpf_map__fd(map_), key.data, value.data, BPF_ANY);
    if (err < 0) Throw(info, err, "bpf(BPF_MAP_UPDATE_ELEM)");
  }

  Napi::Value Delete(const Napi::CallbackInfo& info) {
    ByteView key;
    if (!Open(info) || !ArgBytes(info, 0, key_bytes_, &key)) return info.Env().Undefined();
    const int err = bpf_map_delete_elem(bpf_map__fd(map_), key.data);
    // A sockhash says EINVAL for a key it does not have.
    const bool missing = err == -ENOENT || (err == -EINVAL && bpf_map__type(map_) == BPF_MAP_TYPE_SOCKHASH);
    if (err < 0 && !missing) {
      Throw(info, err, "bpf(BPF_MAP_DELETE_ELEM)");
      return info.Env().Undefined();
    }
    return Napi::Boolean::New(info.Env(), err == 0);
  }

  Napi::Value Keys(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    Napi::Array out = Napi::Array::New(info.Env());
    std::vector<uint8_t> key(key_bytes_), next(key_bytes_);
    const uint32_t max = bpf_map__max_entries(map_);
    // Bounded: a key removed meanwhile starts the walk anew.
    for (uint32_t count = 0; count < max; count++) {
      const int err = bpf_map_get_next_key(bpf_map__fd(map_), count == 0 ? nullptr : key.data(), next.data());
      if (err == -ENOENT) break;
      if (err < 0) {
        Throw(info, err, "bpf(BPF_MAP_GET_NEXT_KEY)");
        return info.Env().Undefined();
      }
      out.Set(count, Napi::Buffer<uint8_t>::Copy(info.Env(), next.data(), next.size()));
      std::swap(key, next);
    }
    return out;
  }

  std::shared_ptr<Loaded> loaded_;
  struct bpf_map* map_ = nullptr;
  uint32_t key_bytes_ = 0;
  uint32_t value_bytes_ = 0;
};

// The first word of the consumer's and of the producer's page (Documentation/bpf/ringbuf.rst).
int64_t RingBytes(int fd) {
  const long page = sysconf(_SC_PAGESIZE);
  uint64_t at[2] = {};
  for (int i = 0; i < 2; i++) {
    void* memory = mmap(nullptr, static_cast<size_t>(page), PROT_READ, MAP_SHARED, fd, i * page);
    if (memory == MAP_FAILED) return -1;
    at[i] = __atomic_load_n(static_cast<uint64_t*>(memory), __ATOMIC_ACQUIRE);
    munmap(memory, static_cast<size_t>(page));
  }
  return static_cast<int64_t>(at[1] - at[0]);
}

}  // namespace

Loaded::~Loaded() {
  orlop_bpf__destroy(skeleton);
}

Napi::Function DefineKernelMap(Napi::Env env) {
  return KernelMap::Define(env);
}

int64_t CountEntries(const struct bpf_map* map) {
  switch (bpf_map__type(map)) {
    case BPF_MAP_TYPE_ARRAY:
    case BPF_MAP_TYPE_PERCPU_ARRAY:
      return bpf_map__max_entries(map);
    case BPF_MAP_TYPE_RINGBUF:
      return RingBytes(bpf_map__fd(map));
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_SOCKHASH:
      break;
    default:
      return -1;
  }
  std::vector<uint8_t> key(bpf_map__key_size(map)), next(key.size());
  const uint32_t max = bpf_map__max_entries(map);
  uint32_t count = 0;
  while (count < max &&
         bpf_map_get_next_key(bpf_map__fd(map), count == 0 ? nullptr : key.data(), next.data()) == 0) {
    std::swap(key, next);
    count++;
  }
  return count;
}

}  // namespace orlop
