// 10, 11 · data thread · room for bytes that are sealed where they lie. Its parts are as long as the payload of a TLS record, and around
// each is a gap: in front for the record's header, behind for its type and tag.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/core/pieces.h"

namespace orlop {

class PartedRoom {
 public:
  static constexpr size_t kPart = 16 * 1024;
  static constexpr size_t kBefore = 5;
  static constexpr size_t kBehind = 17;
  static constexpr size_t kRecord = kBefore + kPart + kBehind;
  static constexpr size_t kMostParts = 16;
  // A record of TLS itself may have to go in front of each part, which then moves.
  static constexpr size_t kKeyUpdate = kBefore + 5 + kBehind;
  static constexpr size_t BytesOf(size_t parts) { return parts * (kRecord + kKeyUpdate); }

  // `bytes` has BytesOf(parts); parts are at most kMostParts. Without `gaps` the parts lie one behind the other, for what seals elsewhere.
  PartedRoom(uint8_t* bytes, size_t parts, bool gaps = true)
      : bytes_(bytes), capacity_(parts * kPart), stride_(gaps ? kRecord : kPart) {}

  size_t capacity() const { return capacity_; }
  size_t length() const { return length_; }
  size_t left() const { return capacity_ - length_; }
  // Copies bytes behind those that are there. `length` is at most left().
  void Put(const uint8_t* bytes, size_t length) {
    const size_t within = length_ % kPart;
    if (within + length > kPart) return PutAcross(bytes, length);
    memcpy(Record(length_) + kBefore + within, bytes, length);
    length_ += length;
  }
  // Where bytes come to lie that are put `skip` bytes behind those that are there; at most `most`. Valid until the next call.
  Pieces Ahead(size_t skip, size_t most);
  // So many have been put there.
  void Took(size_t length) { length_ += length; }
  // What is there. Valid until the next call of Ahead or Whole.
  Pieces Whole();

  // For what seals it. The part at `at`, a multiple of kPart, has its content behind kBefore bytes.
  uint8_t* Record(size_t at) const { return bytes_ + at / kPart * stride_; }
  // Records have taken the place of the bytes, one behind the other from Record(0) on, or have left the room.
  void SetSealed(size_t length) { sealed_ = length; }
  size_t sealed() const { return sealed_; }

 private:
  void PutAcross(const uint8_t* bytes, size_t length);
  Pieces At(size_t from, size_t length);
  uint8_t* const bytes_;
  const size_t capacity_;
  const size_t stride_;
  size_t length_ = 0;
  size_t sealed_ = 0;
  iovec list_[kMostParts + 1];
};

}  // namespace orlop
