// any thread · bytes sixteen at a time, by the vectors that every processor of ours has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace orlop {

// A comparison of two gives marks: 0xff for each byte of which it holds, else 0.
using SixteenBytes = uint8_t __attribute__((vector_size(16)));

inline SixteenBytes SixteenAt(const uint8_t* bytes) {
  SixteenBytes word;
  memcpy(&word, bytes, sizeof word);
  return word;
}

// How many bytes lie in front of the first mark; 16: there is none.
template <typename Marks>
size_t FirstMark(Marks marks) {
  static_assert(sizeof marks == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  uint64_t halves[2];
  memcpy(halves, &marks, sizeof halves);
  if (halves[0] != 0) return static_cast<size_t>(__builtin_ctzll(halves[0])) / 8;
  return halves[1] != 0 ? 8 + static_cast<size_t>(__builtin_ctzll(halves[1])) / 8 : 16;
}

}  // namespace orlop
