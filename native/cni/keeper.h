// plug-in · asks the node's keeper, over its unix socket, to guard and capture a pod that begins, and waits for its word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace orlop {

// Monotonic, in milliseconds.
int64_t CniNowMs();

struct CniAnswer {
  enum class Word { kInForce, kNotOurs, kRefused, kWait, kNobody };
  Word word = Word::kNobody;
  std::string why;
};

// One packet with the network namespace, then the keeper's word, perhaps after others by which it asks for more time: 8 s for each word,
// 40 s in all since `began_ms`. Where nobody answers, it tries again in that time. `netns` stays the caller's.
CniAnswer AskKeeper(std::string_view socket, const std::string& request, int netns, int64_t began_ms);

// Does not wait, and does not say whether anybody has heard it.
void TellKeeper(std::string_view socket, const std::string& notice);

}  // namespace orlop
