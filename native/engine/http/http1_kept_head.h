// 16 · data thread · a request's head while it is open: its bytes, and of the table that was read from them what is in use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "engine/http/http1_head.h"

namespace orlop {

// Bytes and table lie in a single allocation that is as long as they need. The parser's own table has room for a hundred fields, and most heads have
// a dozen.
class Http1KeptHead {
 public:
  void Keep(const uint8_t* bytes, size_t length, const Http1Head& head) {
    const size_t used = UsedBy(head);
    all_.reserve(length + used);
    all_.assign(reinterpret_cast<const char*>(bytes), length);
    all_.append(reinterpret_cast<const char*>(&head), used);
    length_ = length;
  }
  // Also its memory.
  void Forget() {
    std::string().swap(all_);
    length_ = 0;
  }

  const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(all_.data()); }
  size_t length() const { return length_; }
  // Behind Keep. Fields beyond field_count hold nothing.
  void Read(Http1Head* head) const {
    memcpy(static_cast<void*>(head), all_.data() + length_, all_.size() - length_);
  }
  // Bytes of memory.
  size_t held() const { return all_.capacity() > std::string().capacity() ? all_.capacity() : 0; }

 private:
  static size_t UsedBy(const Http1Head& head) {
    static_assert(std::is_trivially_copyable_v<Http1Head> && std::is_standard_layout_v<Http1Head>);
    return offsetof(Http1Head, fields) + head.field_count * sizeof(Http1Field);
  }

  std::string all_;
  size_t length_ = 0;
};

}  // namespace orlop
