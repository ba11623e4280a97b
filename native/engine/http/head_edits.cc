// 16 · data thread · edits of a head, read with checks.
#include "engine/http/head_edits.h"

#include <strings.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "engine/core/arena.h"
#include "engine/core/events.h"

namespace orlop {
namespace {

// Fetch's response headers of CORS (fetch.spec.whatwg.org, HTTP responses), and what keeps a cache from giving them to others.
bool IsOfSharing(std::string_view name) {
  constexpr std::string_view kPrefix = "access-control-", kVary = "vary";
  if (name.size() == kVary.size()) return strncasecmp(name.data(), kVary.data(), kVary.size()) == 0;
  return name.size() > kPrefix.size() && strncasecmp(name.data(), kPrefix.data(), kPrefix.size()) == 0;
}

}  // namespace

bool HeadEdits::Read(std::string_view bytes) {
  pairs_.clear();
  for (size_t at = 0; at < bytes.size();) {
    uint16_t prefix[3];
    static_assert(sizeof prefix == ORLOP_HEAD_EDIT_PREFIX);
    bool whole = bytes.size() - at >= sizeof prefix;
    if (whole) memcpy(prefix, bytes.data() + at, sizeof prefix);
    whole = whole && bytes.size() - at - sizeof prefix >= size_t{prefix[1]} + prefix[2] &&
            prefix[0] <= static_cast<uint16_t>(HeaderOp::kRemove);
    if (!whole) {
      pairs_.clear();
      return false;
    }
    at += sizeof prefix;
    const auto op = static_cast<HeaderOp>(prefix[0]);
    const std::string_view name = bytes.substr(at, prefix[1]);
    const std::string_view value = bytes.substr(at + prefix[1], prefix[2]);
    pairs_.push_back({name, op == HeaderOp::kRemove ? std::string_view() : value, op == HeaderOp::kAdd});
    at += size_t{prefix[1]} + prefix[2];
  }
  if (ArePairs(pairs_.data(), pairs_.size())) return true;
  pairs_.clear();
  return false;
}

bool HeadEdits::ReadSharing(std::string_view bytes) {
  if (!Read(bytes)) return false;
  const auto is_other = [](const Http1Pair& pair) { return !IsOfSharing(pair.name); };
  pairs_.erase(std::remove_if(pairs_.begin(), pairs_.end(), is_other), pairs_.end());
  return true;
}

}  // namespace orlop
