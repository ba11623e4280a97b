// 10, 11 · data thread · where the bytes of a room lie.
#include "engine/core/parted_room.h"

#include <algorithm>

namespace orlop {

Pieces PartedRoom::At(size_t from, size_t length) {
  Pieces pieces{list_, 0, length};
  while (length > 0) {
    const size_t within = from % kPart;
    const size_t part = stride_ == kPart ? length : std::min(length, kPart - within);
    list_[pieces.count++] = {Record(from) + kBefore + within, part};
    from += part;
    length -= part;
  }
  return pieces;
}

void PartedRoom::PutAcross(const uint8_t* bytes, size_t length) {
  const iovec all{const_cast<uint8_t*>(bytes), length};
  length_ += CopyPieces({&all, 1, length}, At(length_, std::min(length, left())));
}

Pieces PartedRoom::Ahead(size_t skip, size_t most) {
  return At(length_ + skip, std::min(most, left() - std::min(skip, left())));
}

Pieces PartedRoom::Whole() {
  return At(0, length_);
}

}  // namespace orlop
