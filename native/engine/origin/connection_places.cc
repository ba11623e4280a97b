// 22 · data thread · the cells of places for connections: found and claimed by key, in single steps.
#include "engine/origin/connection_places.h"

namespace orlop {
namespace {

// As agent/traffic/keyed-cells.ts: the key of the hash, then what is nobody's, then sets of cells.
constexpr size_t kHeader = 2;
constexpr size_t kWays = 16;
constexpr size_t kOwnSets = 1;

}  // namespace

bool ConnectionPlaces::Share(uint64_t* words, size_t count, uint32_t thread, uint32_t threads) {
  if (threads == 0 || thread >= threads) return false;
  const size_t cell = WordsFor(threads);
  // The cell that keys without room share, and the count of what was refused.
  const size_t before = kHeader + cell + 1;
  if (count <= before || (count - before) % (kWays * cell) != 0) return false;
  const size_t sets = (count - before) / (kWays * cell);
  if ((sets & (sets - 1)) != 0) return false;
  words_ = words;
  sets_ = sets;
  thread_ = thread;
  threads_ = threads;
  return true;
}

void ConnectionPlaces::MakeOwn() {
  own_.assign(kHeader + cell_words() + 1 + kOwnSets * kWays * cell_words(), 0);
  words_ = own_.data();
  sets_ = kOwnSets;
}

ConnectionPlaces::Cell ConnectionPlaces::CellOf(uint64_t key) {
  if (!words_) MakeOwn();
  const size_t size = kWays * cell_words();
  uint64_t* const first = words_ + kHeader + cell_words() + 1 + size * (key & (sets_ - 1));
  for (uint64_t* at = first; at < first + size; at += cell_words())
    if (__atomic_load_n(at, __ATOMIC_SEQ_CST) == key) return at;
  for (uint64_t* at = first; at < first + size; at += cell_words()) {
    uint64_t held = __atomic_load_n(at, __ATOMIC_SEQ_CST);
    if (held != 0 && !IsFree(at)) continue;
    if (__atomic_compare_exchange_n(at, &held, key, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return at;
    // Another thread may have claimed it for the same key.
    if (held == key) return at;
  }
  return words_ + kHeader;
}

bool ConnectionPlaces::Take(Cell cell, uint32_t most) {
  Add(&counts(cell)[thread_], 1);
  if (static_cast<uint32_t>(Sum(cell, 0)) <= most) return true;
  Add(&counts(cell)[thread_], -1);
  return false;
}

int32_t* ConnectionPlaces::TakeRoom(Cell cell, uint32_t most) {
  int32_t* const own = &counts(cell)[2 * threads_ + thread_];
  Add(own, 1);
  if (most == 0 || static_cast<uint32_t>(Sum(cell, 2 * threads_)) <= most) return own;
  Add(own, -1);
  return nullptr;
}

int32_t ConnectionPlaces::AwaitedElsewhere(Cell cell) const {
  return Sum(cell, threads_) - __atomic_load_n(&counts(cell)[threads_ + thread_], __ATOMIC_SEQ_CST);
}

int32_t ConnectionPlaces::Sum(Cell cell, uint32_t first) const {
  int32_t sum = 0;
  for (uint32_t thread = 0; thread < threads_; thread++)
    sum += __atomic_load_n(&counts(cell)[first + thread], __ATOMIC_SEQ_CST);
  return sum;
}

}  // namespace orlop
