// 11 · data thread · budgets by peer.
#include "engine/tunnel/peer_budgets.h"

#include <cstring>

namespace orlop {

bool PeerBudgets::Key::operator==(const Key& other) const {
  return identity == other.identity && memcmp(address.bytes, other.address.bytes, sizeof address.bytes) == 0;
}

size_t PeerBudgets::KeyHash::operator()(const Key& key) const {
  uint64_t halves[2];
  memcpy(halves, key.address.bytes, sizeof halves);
  uint64_t hash = halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL);
  hash ^= static_cast<uint32_t>(key.identity) * 0xff51afd7ed558ccdULL;
  return hash ^ (hash >> 29);
}

PeerBudgets::Share PeerBudgets::Use(int32_t identity, const orlop_addr& address) {
  Forget();
  const Key key{identity, address};
  std::unique_ptr<Entry>& entry = entries_[key];
  if (!entry) entry = std::make_unique<Entry>(key);
  if (entry->linked()) {
    entry->Remove();
    kept_count_--;
  }
  entry->users++;
  return Share(entry.get(), Leave{this});
}

void PeerBudgets::OnLeft(Entry* entry) {
  if (--entry->users > 0) return;
  entry->left_ms = clock_.now_ms();
  kept_.PushBack(entry);
  kept_count_++;
  Forget();
}

void PeerBudgets::Forget() {
  const uint64_t now = clock_.now_ms();
  for (Entry* oldest = kept_.First(); oldest; oldest = kept_.First()) {
    if (kept_count_ <= kMostKept && now - oldest->left_ms < kKeptMs) return;
    kept_count_--;
    entries_.erase(Key(oldest->key));
  }
}

}  // namespace orlop
