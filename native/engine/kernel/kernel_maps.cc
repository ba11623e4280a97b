// any thread · bpf(2) on borrowed map descriptors: one element, or the whole map in bulk. Links no libbpf.
// The descriptor is duplicated, so the caller may close its own. Works without any capability on kernels
// >= 5.19.
#include "engine/kernel/kernel_maps.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "engine/kernel/bpf_call.h"

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
  static void Init(Napi::Env env, Napi::Object exports) {
    exports.Set("KernelMap", DefineClass(env, "KernelMap",
                                         {
                                             InstanceAccessor<&KernelMap::Name>("name"),
                                             InstanceAccessor<&KernelMap::KeyBytes>("keyBytes"),
                                             InstanceAccessor<&KernelMap::ValueBytes>("valueBytes"),
                                             InstanceAccessor<&KernelMap::Cpus>("cpus"),
                                             InstanceAccessor<&KernelMap::MaxEntries>("maxEntries"),
                                             InstanceMethod<&KernelMap::Get>("get"),
                                             InstanceMethod<&KernelMap::Put>("put"),
                                             InstanceMethod<&KernelMap::Delete>("delete"),
                                             InstanceMethod<&KernelMap::Dump>("dump"),
                                             InstanceMethod<&KernelMap::Close>("close"),
                                         }));
  }

  explicit KernelMap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<KernelMap>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsNumber()) {
      Napi::TypeError::New(env, "KernelMap(fd): fd is a number").ThrowAsJavaScriptException();
      return;
    }
    fd_ = fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3);
    if (fd_ < 0) {
      ThrowBpfError(env, errno, "fcntl(F_DUPFD_CLOEXEC)");
      return;
    }
    struct bpf_map_info map = {};
    union bpf_attr attr = {};
    attr.info.bpf_fd = static_cast<uint32_t>(fd_);
    attr.info.info_len = sizeof(map);
    attr.info.info = BpfPointer(&map);
    const int err = Bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
    if (err < 0) {
      ThrowBpfError(env, -err, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
      return;
    }
    if (map.key_size > kMaxKeyBytes) {
      ThrowBpfError(env, E2BIG, "KernelMap: key size");
      return;
    }
    cpus_ = IsPerCpu(map.type) ? PossibleCpus() : 1;
    if (cpus_ == 0) {
      ThrowBpfError(env, EIO, "read(/sys/devices/system/cpu/possible)");
      return;
    }
    name_.assign(map.name, strnlen(map.name, sizeof(map.name)));
    key_bytes_ = map.key_size;
    // Per-CPU values are padded to eight bytes each, also in bulk.
    value_bytes_ = cpus_ == 1 && !IsPerCpu(map.type) ? map.value_size : ((map.value_size + 7) & ~7u) * cpus_;
    max_entries_ = map.max_entries;
  }

  ~KernelMap() override { CloseFd(); }

 private:
  Napi::Value Name(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), name_); }
  Napi::Value KeyBytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), key_bytes_); }
  Napi::Value ValueBytes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), value_bytes_);
  }
  Napi::Value Cpus(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), cpus_); }
  Napi::Value MaxEntries(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), max_entries_);
  }

  // The bytes of argument `index`, or nullptr with an exception pending when it has not exactly `size` of
  // them.
  const uint8_t* Bytes(const Napi::CallbackInfo& info, size_t index, uint32_t size) {
    if (fd_ < 0) {
      ThrowBpfError(info.Env(), EBADF, "KernelMap: closed");
      return nullptr;
    }
    if (info[index].IsTypedArray()) {
      const auto array = info[index].As<Napi::TypedArray>();
      if (array.TypedArrayType() == napi_uint8_array && array.ByteLength() == size)
        return static_cast<const uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset();
    }
    Napi::RangeError::New(info.Env(), name_ + ": argument " + std::to_string(index) +
                                          " must be a Uint8Array of " + std::to_string(size) + " bytes")
        .ThrowAsJavaScriptException();
    return nullptr;
  }

  union bpf_attr Element(const uint8_t* key) const {
    union bpf_attr attr = {};
    attr.map_fd = static_cast<uint32_t>(fd_);
    attr.key = BpfPointer(key);
    return attr;
  }

  Napi::Value Get(const Napi::CallbackInfo& info) {
    const uint8_t* key = Bytes(info, 0, key_bytes_);
    if (key == nullptr) return info.Env().Undefined();
    std::vector<uint8_t> value(value_bytes_);
    union bpf_attr attr = Element(key);
    attr.value = BpfPointer(value.data());
    const int err = Bpf(BPF_MAP_LOOKUP_ELEM, &attr);
    // A missing entry is an answer, not a failure.
    if (err == -ENOENT) return info.Env().Undefined();
    if (err < 0) {
      ThrowBpfError(info.Env(), -err, "bpf(BPF_MAP_LOOKUP_ELEM)");
      return info.Env().Undefined();
    }
    return Napi::Buffer<uint8_t>::Copy(info.Env(), value.data(), value.size());
  }

  // E2BIG: the map is full. The caller decides what that means; for every map of ours it means "refuse".
  void Put(const Napi::CallbackInfo& info) {
    const uint8_t* key = Bytes(info, 0, key_bytes_);
    if (key == nullptr) return;
    const uint8_t* value = Bytes(info, 1, value_bytes_);
    if (value == nullptr) return;
    union bpf_attr attr = Element(key);
    attr.value = BpfPointer(value);
    attr.flags = BPF_ANY;
    const int err = Bpf(BPF_MAP_UPDATE_ELEM, &attr);
    if (err < 0) ThrowBpfError(info.Env(), -err, "bpf(BPF_MAP_UPDATE_ELEM)");
  }

  Napi::Value Delete(const Napi::CallbackInfo& info) {
    const uint8_t* key = Bytes(info, 0, key_bytes_);
    if (key == nullptr) return info.Env().Undefined();
    union bpf_attr attr = Element(key);
    const int err = Bpf(BPF_MAP_DELETE_ELEM, &attr);
    if (err < 0 && err != -ENOENT) {
      ThrowBpfError(info.Env(), -err, "bpf(BPF_MAP_DELETE_ELEM)");
      return info.Env().Undefined();
    }
    return Napi::Boolean::New(info.Env(), err == 0);
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
      attr.batch.map_fd = static_cast<uint32_t>(fd_);
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

  // Key after key. Bounded by the map's size, since deletions during the walk start it anew.
  int DumpOneByOne(std::vector<uint8_t>* out) const {
    uint8_t key[kMaxKeyBytes] = {}, next[kMaxKeyBytes] = {};
    std::vector<uint8_t> value(value_bytes_);
    bool started = false;
    for (uint32_t i = 0; i < max_entries_; i++) {
      union bpf_attr attr = {};
      attr.map_fd = static_cast<uint32_t>(fd_);
      attr.key = started ? BpfPointer(key) : 0;
      attr.next_key = BpfPointer(next);
      int err = Bpf(BPF_MAP_GET_NEXT_KEY, &attr);
      if (err == -ENOENT) return 0;
      if (err < 0) return err;
      std::memcpy(key, next, sizeof(key));
      started = true;
      attr = Element(key);
      attr.value = BpfPointer(value.data());
      err = Bpf(BPF_MAP_LOOKUP_ELEM, &attr);
      if (err == -ENOENT) continue;  // Deleted in between.
      if (err < 0) return err;
      Append(out, key, value.data());
    }
    return 0;
  }

  Napi::Value Dump(const Napi::CallbackInfo& info) {
    if (fd_ < 0) {
      ThrowBpfError(info.Env(), EBADF, "KernelMap: closed");
      return info.Env().Undefined();
    }
    std::vector<uint8_t> out;
    int err = 0;
    if (!DumpInBatches(&out, &err)) err = DumpOneByOne(&out);
    if (err < 0) {
      ThrowBpfError(info.Env(), -err, "bpf(BPF_MAP_LOOKUP_BATCH)");
      return info.Env().Undefined();
    }
    return Napi::Buffer<uint8_t>::Copy(info.Env(), out.data(), out.size());
  }

  void Close(const Napi::CallbackInfo&) { CloseFd(); }

  void CloseFd() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  int fd_ = -1;
  std::string name_;
  uint32_t key_bytes_ = 0;
  uint32_t value_bytes_ = 0;
  uint32_t cpus_ = 1;
  uint32_t max_entries_ = 0;
};

}  // namespace

void InitKernelMaps(Napi::Env env, Napi::Object exports) {
  KernelMap::Init(env, exports);
}

}  // namespace orlop
