// 11 · data thread · where a stream of frames may be cut, so that a turn reads no more than its share. It looks at the lengths and
// types of frames alone; what they mean, and whether they are right, is nghttp2's. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orlop {

class FrameCutter {
 public:
  struct Cut {
    size_t length = 0;         // bytes to be read now
    uint32_t work = 0;         // and what reading them costs (toll.h)
    bool last_stream = false;  // they are of a GOAWAY's last stream identifier, and nothing else
  };
  // A client's preface comes first.
  void ExpectPreface();
  // `bytes` are what follows the last cut. Frames other than DATA with a payload are cut off each by itself, since each may use up a
  // budget.
  // `work_left` is above 0; the work may exceed it by that of a single frame.
  Cut Next(const uint8_t* bytes, size_t length, uint32_t work_left);

 private:
  static constexpr size_t kHead = 9;  // RFC 9113 4.1
  // False: `bytes` ended within the head.
  bool ReadHead(const uint8_t* bytes, size_t length, Cut* cut);
  void BeginFrame(const uint8_t* head, Cut* cut);

  uint8_t head_[kHead] = {};
  size_t head_length_ = 0;
  size_t left_ = 0;      // of the frame's payload
  size_t named_ = 0;     // and of the last stream identifier, with which the payload of a GOAWAY begins
  size_t free_ = 0;      // bytes of a field block that the frame's own cost includes
  bool alone_ = false;   // the cut ends with this frame
  bool fields_ = false;  // its payload is a field block
};

}  // namespace orlop
