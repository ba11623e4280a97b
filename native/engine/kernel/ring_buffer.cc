// main thread · consumes a borrowed BPF ring buffer: the events that the hooks sent, oldest first. Links no libbpf.
// There may be one consumer: the position is shared memory, so of two agents only the newer drains the ring.
#include "engine/kernel/ring_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "shared/args.h"
#include "shared/bpf_call.h"
#include "shared/errno_error.h"
#include "shared/unique_fd.h"

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
    Unmap();
    void* at = mmap(nullptr, bytes, protection, MAP_SHARED, fd, offset);
    if (at == MAP_FAILED) return -errno;
    at_ = static_cast<uint8_t*>(at);
    bytes_ = bytes;
    return 0;
  }
  void Unmap() {
    if (at_ != nullptr) munmap(at_, bytes_);
    at_ = nullptr;
    bytes_ = 0;
  }
  uint8_t* at() const { return at_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* at_ = nullptr;
  size_t bytes_ = 0;
};

// The bytes of the ring's records, of which only those around the last that was asked for are mapped: the kernel lets a mapping name
// pages that are there already, so that each mapped page counts as resident memory of the agent.
class RecordWindow {
 public:
  // `offset` is that of the records in the ring's memory.
  int Open(int fd, size_t data_bytes, off_t offset) {
    fd_ = UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (fd_.get() < 0) return -errno;
    data_bytes_ = data_bytes;
    offset_ = offset;
    return At(0, BPF_RINGBUF_HDR_SZ) == nullptr ? -errno : 0;
  }
  void Close() {
    window_.Unmap();
    fd_ = UniqueFd();
  }
  // `position` lies in the ring, and `bytes` are no more than the ring has. nullptr: nothing could be mapped; errno says why.
  const uint8_t* At(size_t position, size_t bytes) {
    if (position < start_ || position + bytes > start_ + window_.bytes()) {
      const size_t start = position & ~(kPage - 1);
      const size_t needed = (position + bytes - start + kPage - 1) & ~(kPage - 1);
      // The kernel has the data twice in a row, so that no record is ever split.
      const size_t length = std::min(std::max(needed, kBytes), 2 * data_bytes_ - start);
      const int err = window_.Map(fd_.get(), length, PROT_READ, offset_ + static_cast<off_t>(start));
      if (err < 0) {
        errno = -err;
        return nullptr;
      }
      start_ = start;
    }
    return window_.at() + (position - start_);
  }

 private:
  // Some thousand events, so that mapping costs nothing beside them.
  static constexpr size_t kBytes = size_t{1} << 17;
  static inline const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

  UniqueFd fd_;
  Mapping window_;
  size_t data_bytes_ = 0;
  off_t offset_ = 0;
  size_t start_ = 0;
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

  // The descriptor itself is not needed afterwards.
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
    if (err == 0) err = producer_.Map(fd, page, PROT_READ, static_cast<off_t>(page));
    if (err == 0) err = records_.Open(fd, data_bytes, static_cast<off_t>(2 * page));
    if (err < 0) {
      Unmap();
      ThrowErrno(env, -err, "mmap", "ring buffer");
      return;
    }
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
      const uint8_t* record = records_.At(consumed & mask_, BPF_RINGBUF_HDR_SZ);
      // No memory now: what is not read waits, and what finds no place in the ring is counted by the kernel.
      if (record == nullptr) break;
      const uint32_t header = LoadAcquire<uint32_t>(record);
      if (header & BPF_RINGBUF_BUSY_BIT) break;  // Reserved, not yet submitted; what follows it waits too.
      const uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
      if (length > mask_) {
        ThrowErrno(env, EPROTO, "RingBuffer", "a record is longer than the ring");
        return env.Undefined();
      }
      if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
        if (length == record_size) {
          record = records_.At(consumed & mask_, BPF_RINGBUF_HDR_SZ + record_size);
          if (record == nullptr) break;
          std::memcpy(out + copied++ * record_size, record + BPF_RINGBUF_HDR_SZ, record_size);
        } else {
          skipped_++;
        }
      }
      consumed += (static_cast<uint64_t>(length) + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7};
      __atomic_store_n(reinterpret_cast<unsigned long*>(consumer_.at()), consumed, __ATOMIC_RELEASE);
    }
    return Napi::Number::New(env, static_cast<double>(copied));
  }

  void Close(const Napi::CallbackInfo&) { Unmap(); }

  void Unmap() {
    records_.Close();
    producer_.Unmap();
    consumer_.Unmap();
  }

  Mapping consumer_;
  Mapping producer_;
  RecordWindow records_;
  uint64_t mask_ = 0;
  uint64_t skipped_ = 0;
};

}  // namespace

void InitRingBuffer(Napi::Env env, Napi::Object exports) {
  RingBuffer::Init(env, exports);
}

}  // namespace orlop
