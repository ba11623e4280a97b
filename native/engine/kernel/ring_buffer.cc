// main thread · consumes a borrowed BPF ring buffer: the events that the hooks sent, oldest first. Links no libbpf.
// There may be one consumer: the position is shared memory, so of two agents only the newer drains the ring.
#include "engine/kernel/ring_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "shared/args.h"
#include "shared/bpf_call.h"
#include "shared/errno_error.h"

namespace orlop {
namespace {

// One mapping of the ring's memory.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { Unmap(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  int Map(int fd, size_t bytes, int protection, off_t offset) {
    void* at = mmap(nullptr, bytes, protection, MAP_SHARED, fd, offset);
    if (at == MAP_FAILED) return -errno;
    at_ = static_cast<uint8_t*>(at);
    bytes_ = bytes;
    return 0;
  }
  void Unmap() {
    if (at_ != nullptr) munmap(at_, bytes_);
    at_ = nullptr;
  }
  uint8_t* at() const { return at_; }

 private:
  uint8_t* at_ = nullptr;
  size_t bytes_ = 0;
};

// The kernel writes positions and lengths without a lock: acquire what it wrote, release what we wrote.
template <typename T>
T LoadAcquire(const uint8_t* at) {
  return __atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_ACQUIRE);
}

class RingBuffer : public Napi::ObjectWrap<RingBuffer> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    exports.Set("RingBuffer", DefineClass(env, "RingBuffer",
                                          {
                                              InstanceAccessor<&RingBuffer::Skipped>("skipped"),
                                              InstanceMethod<&RingBuffer::Drain>("drain"),
                                              InstanceMethod<&RingBuffer::Close>("close"),
                                          }));
  }

  // The mappings keep the ring alive: the descriptor itself is not needed afterwards.
  explicit RingBuffer(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RingBuffer>(info) {
    const Napi::Env env = info.Env();
    int fd = -1;
    if (!ArgFd(info, 0, &fd)) return;
    struct bpf_map_info map = {};
    int err = ReadMapInfo(fd, &map);
    if (err < 0) {
      ThrowErrno(env, -err, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
      return;
    }
    if (map.type != BPF_MAP_TYPE_RINGBUF) {
      ThrowErrno(env, EINVAL, "RingBuffer", "the map is no ring buffer");
      return;
    }
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t data_bytes = map.max_entries;
    err = consumer_.Map(fd, page, PROT_READ | PROT_WRITE, 0);
    // The kernel maps the data twice in a row, so that no record is ever split.
    if (err == 0) err = producer_.Map(fd, page + 2 * data_bytes, PROT_READ, static_cast<off_t>(page));
    if (err < 0) {
      consumer_.Unmap();
      ThrowErrno(env, -err, "mmap", "ring buffer");
      return;
    }
    data_ = producer_.at() + page;
    mask_ = data_bytes - 1;
  }

 private:
  Napi::Value Skipped(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(skipped_));
  }

  // drain(into: Uint8Array, recordBytes: number): number — how many records of exactly recordBytes were
  // copied, back to back. Records of another size are skipped and counted.
  Napi::Value Drain(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (producer_.at() == nullptr) {
      ThrowErrno(env, EBADF, "RingBuffer", "closed");
      return env.Undefined();
    }
    ByteView into;
    int64_t record_bytes = 0;
    if (!ArgBytes(info, 0, &into) || !ArgInt(info, 1, 1, UINT32_MAX, &record_bytes)) return env.Undefined();
    const auto record_size = static_cast<size_t>(record_bytes);
    auto* out = const_cast<uint8_t*>(into.data);
    const size_t room = into.size / record_size;
    size_t copied = 0;
    uint64_t consumed = LoadAcquire<unsigned long>(consumer_.at());
    const uint64_t produced = LoadAcquire<unsigned long>(producer_.at());
    while (copied < room && consumed < produced) {
      const uint8_t* record = data_ + (consumed & mask_);
      const uint32_t header = LoadAcquire<uint32_t>(record);
      if (header & BPF_RINGBUF_BUSY_BIT) break;  // Reserved, not yet submitted; what follows it waits too.
      const uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
      if (length > mask_) {
        ThrowErrno(env, EPROTO, "RingBuffer", "a record is longer than the ring");
        return env.Undefined();
      }
      if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
        if (length == record_size)
          std::memcpy(out + copied++ * record_size, record + BPF_RINGBUF_HDR_SZ, record_size);
        else
          skipped_++;
      }
      consumed += (static_cast<uint64_t>(length) + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7};
      __atomic_store_n(reinterpret_cast<unsigned long*>(consumer_.at()), consumed, __ATOMIC_RELEASE);
    }
    return Napi::Number::New(env, static_cast<double>(copied));
  }

  void Close(const Napi::CallbackInfo&) {
    producer_.Unmap();
    consumer_.Unmap();
  }

  Mapping consumer_;
  Mapping producer_;
  const uint8_t* data_ = nullptr;
  uint64_t mask_ = 0;
  uint64_t skipped_ = 0;
};

}  // namespace

void InitRingBuffer(Napi::Env env, Napi::Object exports) {
  RingBuffer::Init(env, exports);
}

}  // namespace orlop
