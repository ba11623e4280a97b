// 22 · data thread · how many connections are open to a Service's port, counted over all data threads in memory that they share. No lock: each thread
// counts in words of its own, and what a thread had open is taken back when it has ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace orlop {

// So many connections of this key may be open, and so many requests may wait for one or for a stream. 0: as many as come.
struct ConnectionCap {
  uint64_t key = 0;
  uint32_t most = 0;
  uint32_t most_waiting = 0;
};

// Laid out as agent/traffic/under-way-cells.ts has it ("awaited"): the words of its cells, each with a key and three counts of each thread.
class ConnectionPlaces {
 public:
  // Of a key; it is the key's as long as anything counts there.
  using Cell = uint64_t*;

  // Before the first connection: with these threads from here on. False: the memory is not laid out for them.
  bool Share(uint64_t* words, size_t count, uint32_t thread, uint32_t threads);

  // Keys without room share the last of them, each at its own cap.
  Cell CellOf(uint64_t key);
  // False: with another there would be more than `most`. Two threads that ask in the same instant for the last place may both hear it.
  bool Take(Cell cell, uint32_t most);
  void Release(Cell cell) { Add(&counts(cell)[thread_], -1); }
  // Another connection of this thread waits for a place there.
  void Await(Cell cell) { Add(&counts(cell)[threads_ + thread_], 1); }
  void AwaitNoMore(Cell cell) { Add(&counts(cell)[threads_ + thread_], -1); }
  // How many of other threads do.
  int32_t AwaitedElsewhere(Cell cell) const;
  // Another request of this thread waits: what counts it from here on (SharedCount). Null: with it more than `most` would, of all threads; 0: as
  // many as come. Two threads that ask in the same instant for the last room may both hear it.
  int32_t* TakeRoom(Cell cell, uint32_t most);

 private:
  // Of an engine that shares nothing.
  void MakeOwn();
  static int32_t* counts(Cell cell) { return reinterpret_cast<int32_t*>(cell + 1); }
  static void Add(int32_t* count, int32_t more) { __atomic_add_fetch(count, more, __ATOMIC_SEQ_CST); }
  int32_t Sum(Cell cell, uint32_t first) const;
  bool IsFree(Cell cell) const {
    return Sum(cell, 0) == 0 && Sum(cell, threads_) == 0 && Sum(cell, 2 * threads_) == 0;
  }
  // Two counts lie in a word.
  static size_t WordsFor(uint32_t threads) { return 1 + (3 * static_cast<size_t>(threads) + 1) / 2; }
  size_t cell_words() const { return WordsFor(threads_); }

  uint64_t* words_ = nullptr;
  size_t sets_ = 0;
  uint32_t thread_ = 0;
  uint32_t threads_ = 1;
  std::vector<uint64_t> own_;
};

}  // namespace orlop
