// 11 · data thread · budgets by who spends them: an identity at an address, and before its handshake is over an address alone. So a
// peer that connects again finds its budget as it left it, and a bad pod does not use up those of its service account elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "engine/core/clock.h"
#include "engine/core/list.h"
#include "engine/http2/budget.h"
#include "orlop_abi.h"

namespace orlop {

class PeerBudgets {
 public:
  static constexpr int32_t kNobody = -1;
  // Budgets that nobody uses are kept so long, and at most so many.
  static constexpr uint64_t kKeptMs = 60'000;
  static constexpr size_t kMostKept = 4'096;

  struct Entry;
  struct Leave {
    PeerBudgets* budgets;
    void operator()(Entry* entry) const { budgets->OnLeft(entry); }
  };
  // A use of a budget; the budgets outlive it.
  using Share = std::unique_ptr<Entry, Leave>;

  explicit PeerBudgets(const Clock& clock) : clock_(clock) {}
  // `identity` kNobody: not yet verified.
  Share Use(int32_t identity, const orlop_addr& address);

  struct Key {
    int32_t identity;
    orlop_addr address;
    bool operator==(const Key& other) const;
  };
  struct Entry : Hook<Entry> {
    explicit Entry(const Key& key) : key(key) {}
    const Key key;
    Budget budget;
    uint32_t users = 0;
    uint64_t left_ms = 0;
  };

 private:
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  void OnLeft(Entry* entry);
  void Forget();
  const Clock& clock_;
  std::unordered_map<Key, std::unique_ptr<Entry>, KeyHash> entries_;
  List<Entry, Entry> kept_;  // without users, in the order in which they were left
  size_t kept_count_ = 0;
};

}  // namespace orlop
