// 10, 11 · data thread · what a peer says in TLS after the handshake (RFC 8446 4.6): messages in records of any cut. Pure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace orlop {

// Keeps nothing of a message but its head: a ticket is dropped while it comes, since no session of ours is resumed.
class PostHandshake {
 public:
  enum class Found { kNothing, kKeyUpdate, kKeyUpdateAsking, kRefused };

  // A server refuses tickets.
  void Begin(bool server) { server_ = server; }
  // The content of a record of handshake messages. A key update is the last thing in its record. kRefused: see alert.
  Found Take(const uint8_t* bytes, size_t length);
  // A message has begun and not ended.
  bool partial() const { return head_length_ > 0; }
  // Messages that have ended.
  uint32_t messages() const { return messages_; }
  uint8_t alert() const { return alert_; }
  const char* reason() const { return reason_; }

 private:
  static constexpr size_t kHead = 4;
  Found Refuse(uint8_t alert, const char* reason);
  bool OnHead();
  bool server_ = false;
  uint8_t head_[kHead] = {};
  size_t head_length_ = 0;
  size_t left_ = 0;  // of the message's body
  uint32_t messages_ = 0;
  uint8_t alert_ = 0;
  const char* reason_ = "";
};

}  // namespace orlop
