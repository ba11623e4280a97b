// plug-in · asks the node's keeper, over its unix socket, to guard and capture a pod that begins, and waits for its word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orlop {

// Monotonic, in milliseconds.
int64_t CniNowMs();

struct CniAnswer {
  enum class Word { kInForce, kNotOurs, kRefused, kNobody };
  Word word = Word::kNobody;
  std::string why;
};

// One packet with the network namespace, then one packet back. Where nobody answers, it tries again until the deadline.
// `netns` stays the caller's.
CniAnswer AskKeeper(std::string_view socket, const std::string& request, int netns, int64_t deadline_ms);

// Does not wait, and does not say whether anybody has heard it.
void TellKeeper(std::string_view socket, const std::string& notice);

}  // namespace orlop
