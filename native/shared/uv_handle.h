// any thread · RAII for uv_poll_t, whose memory must outlive its close callback.
#pragma once

#include <uv.h>

namespace orlop {

// Polls a descriptor that somebody else owns and closes after this.
class UvPoll {
 public:
  UvPoll() = default;
  UvPoll(const UvPoll&) = delete;
  UvPoll& operator=(const UvPoll&) = delete;
  ~UvPoll() { Close(); }

  // `callback` finds `data` in handle->data. Negative: a libuv error.
  int Open(uv_loop_t* loop, int fd, void* data, uv_poll_cb callback) {
    auto* handle = new uv_poll_t;
    const int err = uv_poll_init(loop, handle, fd);
    if (err < 0) {
      delete handle;
      return err;
    }
    handle->data = data;
    handle_ = handle;
    callback_ = callback;
    return 0;
  }
  // UV_READABLE | UV_WRITABLE; 0 stops.
  int Watch(int events) {
    if (handle_ == nullptr || events == events_) return 0;
    events_ = events;
    return events == 0 ? uv_poll_stop(handle_) : uv_poll_start(handle_, events, callback_);
  }
  void Ref(bool ref) {
    if (handle_ == nullptr) return;
    auto* base = reinterpret_cast<uv_handle_t*>(handle_);
    ref ? uv_ref(base) : uv_unref(base);
  }
  void Close() {
    if (handle_ == nullptr) return;
    uv_close(reinterpret_cast<uv_handle_t*>(handle_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
    handle_ = nullptr;
  }

 private:
  uv_poll_t* handle_ = nullptr;
  uv_poll_cb callback_ = nullptr;
  int events_ = 0;
};

}  // namespace orlop
