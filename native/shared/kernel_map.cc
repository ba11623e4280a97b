// any thread · class KernelMap: one element of a BPF map, all its keys, or the
// whole map in bulk, by raw bpf(2). The constructor duplicates the descriptor, so the caller may close its
// own. Needs no capability on Linux 5.19 and newer.
#include "shared/kernel_map.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "shared/args.h"
#include "shared/bpf_call.h"
#include "shared/errno_error.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

constexpr uint32_t kBatchEntries = 256;
constexpr uint32_t kMaxKeyBytes = 64;  // The longest key of orlop_abi.h has 40.

bool IsPerCpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

// The kernel lays out one value per *possible* CPU. 0: the list could not be read.
uint32_t PossibleCpus() {
  FILE* file = fopen("/sys/devices/system/cpu/possible", "re");
  if (file == nullptr) return 0;
  uint32_t count = 0;
  unsigned first = 0;
  while (fscanf(file, "%u", &first) == 1) {
    unsigned last = first;
    int separator = fgetc(file);
    if (separator == '-') {
      if (fscanf(file, "%u", &last) != 1 || last < first) break;
      separator = fgetc(file);
    }
    count += last - first + 1;
    if (separator != ',') break;
  }
  fclose(file);
  return count;
}

class KernelMap : public Napi::ObjectWrap<KernelMap> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "KernelMap",
                       {
                           InstanceAccessor<&KernelMap::Name>("name"),
                           InstanceAccessor<&KernelMap::Fd>("fd"),
                           InstanceAccessor<&KernelMap::KeyBytes>("keyBytes"),
                           InstanceAccessor<&KernelMap::ValueBytes>("valueBytes"),
                           InstanceAccessor<&KernelMap::Cpus>("cpus"),
                           InstanceAccessor<&KernelMap::MaxEntries>("maxEntries"),
                           InstanceMethod<&KernelMap::Get>("get"),
                           InstanceMethod<&KernelMap::Put>("put"),
                           InstanceMethod<&KernelMap::Delete>("delete"),
                           InstanceMethod<&KernelMap::Keys>("keys"),
                           InstanceMethod<&KernelMap::Dump>("dump"),
                           InstanceMethod<&KernelMap::Close>("close"),
                       });
  }

  explicit KernelMap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<KernelMap>(info) {
    int fd = -1;
    if (!ArgFd(info, 0, &fd)) return;
    fd_.reset(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!fd_) {
      ThrowErrno(info.Env(), errno, "fcntl(F_DUPFD_CLOEXEC)");
      return;
    }
    struct bpf_map_info map = {};
    const int err = ReadMapInfo(fd_.get(), &map);
    if (err < 0) {
      ThrowErrno(info.Env(), -err, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
      return;
    }
    name_.assign(map.name, strnlen(map.name, sizeof(map.name)));
    if (map.key_size > kMaxKeyBytes) {
      ThrowErrno(info.Env(), E2BIG, "KernelMap", name_ + ": key size");
      return;
    }
    const bool per_cpu = IsPerCpu(map.type);
    cpus_ = per_cpu ? PossibleCpus() : 1;
    if (cpus_ == 0) {
      ThrowErrno(info.Env(), EIO, "read", "/sys/devices/system/cpu/possible");
      return;
    }
    type_ = map.type;
    key_bytes_ = map.key_size;
    // Per-CPU values are padded to eight bytes each, also in bulk.
    value_bytes_ = per_cpu ? ((map.value_size + 7) & ~7u) * cpus_ : map.value_size;
    max_entries_ = map.max_entries;
  }

 private:
  Napi::Value Name(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), name_); }
  Napi::Value Fd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), fd_.get()); }
  Napi::Value KeyBytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), key_bytes_); }
  Napi::Value ValueBytes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), value_bytes_);
  }
  Napi::Value Cpus(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), cpus_); }
  Napi::Value MaxEntries(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), max_entries_);
  }

  // False, with an exception pending, after close().
  bool Open(const Napi::CallbackInfo& info) const {
    if (fd_) return true;
    ThrowErrno(info.Env(), EBADF, "KernelMap", name_ + " is closed");
    return false;
  }
  Napi::Value Fail(const Napi::CallbackInfo& info, int err, const char* syscall) const {
    ThrowErrno(info.Env(), -err, syscall, name_);
    return info.Env().Undefined();
  }

  union bpf_attr Element(const uint8_t* key) const {
    union bpf_attr attr = {};
    attr.map_fd = static_cast<uint32_t>(fd_.get());
    attr.key = BpfPointer(key);
    return attr;
  }

  Napi::Value Get(const Napi::CallbackInfo& info) {
    ByteView key;
    if (!Open(info) || !ArgBytes(info, 0, key_bytes_, &key)) return info.Env().Undefined();
    std::vector<uint8_t> value(value_bytes_);
    union bpf_attr attr = Element(key.data);
    attr.value = BpfPointer(value.data());
    const int err = Bpf(BPF_MAP_LOOKUP_ELEM, &attr);
    // A missing entry is an answer, not a failure.
    if (err == -ENOENT) return info.Env().Undefined();
    if (err < 0) return Fail(info, err, "bpf(BPF_MAP_LOOKUP_ELEM)");
    return Napi::Buffer<uint8_t>::Copy(info.Env(), value.data(), value.size());
  }

  // E2BIG: the map is full. The caller decides what that means; for every map of ours it means "refuse".
  void Put(const Napi::CallbackInfo& info) {
    ByteView key, value;
    if (!Open(info) || !ArgBytes(info, 0, key_bytes_, &key) || !ArgBytes(info, 1, value_bytes_, &value))
      return;
    union bpf_attr attr = Element(key.data);
    attr.value = BpfPointer(value.data);
    attr.flags = BPF_ANY;
    const int err = Bpf(BPF_MAP_UPDATE_ELEM, &attr);
    if (err < 0) Fail(info, err, "bpf(BPF_MAP_UPDATE_ELEM)");
  }

  Napi::Value Delete(const Napi::CallbackInfo& info) {
    ByteView key;
    if (!Open(info) || !ArgBytes(info, 0, key_bytes_, &key)) return info.Env().Undefined();
    union bpf_attr attr = Element(key.data);
    const int err = Bpf(BPF_MAP_DELETE_ELEM, &attr);
    // A sockhash says EINVAL for a key it does not have.
    const bool missing = err == -ENOENT || (err == -EINVAL && type_ == BPF_MAP_TYPE_SOCKHASH);
    if (err < 0 && !missing) return Fail(info, err, "bpf(BPF_MAP_DELETE_ELEM)");
    return Napi::Boolean::New(info.Env(), err == 0);
  }

  // 0, -ENOENT after the last key, or another -errno. `key` null: the first.
  int NextKey(const uint8_t* key, uint8_t* next) const {
    union bpf_attr attr = Element(key);
    attr.next_key = BpfPointer(next);
    return Bpf(BPF_MAP_GET_NEXT_KEY, &attr);
  }

  Napi::Value Keys(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    Napi::Array out = Napi::Array::New(info.Env());
    uint8_t key[kMaxKeyBytes] = {}, next[kMaxKeyBytes] = {};
    // Bounded by the map's size: a key that is deleted during the walk starts it anew.
    for (uint32_t count = 0; count < max_entries_; count++) {
      const int err = NextKey(count == 0 ? nullptr : key, next);
      if (err == -ENOENT) break;
      if (err < 0) return Fail(info, err, "bpf(BPF_MAP_GET_NEXT_KEY)");
      out.Set(count, Napi::Buffer<uint8_t>::Copy(info.Env(), next, key_bytes_));
      std::memcpy(key, next, sizeof(key));
    }
    return out;
  }

  void Append(std::vector<uint8_t>* out, const uint8_t* key, const uint8_t* value) const {
    out->insert(out->end(), key, key + key_bytes_);
    out->insert(out->end(), value, value + value_bytes_);
  }

  // Entries in chunks. False: this kernel or map type has no bulk lookup, nothing was appended.
  bool DumpInBatches(std::vector<uint8_t>* out, int* err) const {
    uint32_t chunk = std::min(kBatchEntries, max_entries_);
    std::vector<uint8_t> keys, values;
    // The kernel's cursor: a bucket number for hashes, a key for arrays.
    uint8_t cursor[kMaxKeyBytes] = {}, next[kMaxKeyBytes] = {};
    bool started = false;
    uint32_t total = 0;
    while (total < max_entries_) {
      keys.resize(static_cast<size_t>(chunk) * key_bytes_);
      values.resize(static_cast<size_t>(chunk) * value_bytes_);
      union bpf_attr attr = {};
      attr.batch.map_fd = static_cast<uint32_t>(fd_.get());
      attr.batch.in_batch = started ? BpfPointer(cursor) : 0;
      attr.batch.out_batch = BpfPointer(next);
      attr.batch.keys = BpfPointer(keys.data());
      attr.batch.values = BpfPointer(values.data());
      attr.batch.count = chunk;
      *err = Bpf(BPF_MAP_LOOKUP_BATCH, &attr);
      if (*err == -ENOSPC &&
          chunk < max_entries_) {  // One bucket holds more than a chunk: ask again for more.
        chunk = std::min(chunk * 2, max_entries_);
        continue;
      }
      if (*err < 0 && *err != -ENOENT) return started;
      const uint32_t count = std::min(attr.batch.count, chunk);
      for (uint32_t i = 0; i < count && total < max_entries_; i++, total++)
        Append(out, &keys[static_cast<size_t>(i) * key_bytes_],
               &values[static_cast<size_t>(i) * value_bytes_]);
      if (*err == -ENOENT) break;  // That was the last chunk.
      std::memcpy(cursor, next, sizeof(cursor));
      started = true;
    }
    *err = 0;
    return true;
  }

  // Key after key. Bounded as in Keys.
  int DumpOneByOne(std::vector<uint8_t>* out) const {
    uint8_t key[kMaxKeyBytes] = {}, next[kMaxKeyBytes] = {};
    std::vector<uint8_t> value(value_bytes_);
    for (uint32_t i = 0; i < max_entries_; i++) {
      int err = NextKey(i == 0 ? nullptr : key, next);
      if (err == -ENOENT) return 0;
      if (err < 0) return err;
      std::memcpy(key, next, sizeof(key));
      union bpf_attr attr = Element(key);
      attr.value = BpfPointer(value.data());
      err = Bpf(BPF_MAP_LOOKUP_ELEM, &attr);
      if (err == -ENOENT) continue;  // Deleted in between.
      if (err < 0) return err;
      Append(out, key, value.data());
    }
    return 0;
  }

  Napi::Value Dump(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    std::vector<uint8_t> out;
    int err = 0;
    if (!DumpInBatches(&out, &err)) err = DumpOneByOne(&out);
    if (err < 0) return Fail(info, err, "bpf(BPF_MAP_LOOKUP_BATCH)");
    return Napi::Buffer<uint8_t>::Copy(info.Env(), out.data(), out.size());
  }

  void Close(const Napi::CallbackInfo&) { fd_.reset(); }

  UniqueFd fd_;
  std::string name_;
  uint32_t type_ = 0;
  uint32_t key_bytes_ = 0;
  uint32_t value_bytes_ = 0;
  uint32_t cpus_ = 1;
  uint32_t max_entries_ = 0;
};

}  // namespace

Napi::Function DefineKernelMap(Napi::Env env) {
  return KernelMap::Define(env);
}

}  // namespace orlop
