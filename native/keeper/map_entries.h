// keeper · how full a map is. Knows no JavaScript.
#pragma once

#include <cstdint>

struct bpf_map;

namespace orlop {

// Entries in it now; bytes that wait, for a ring buffer; -1: this type cannot be counted (socket storage).
int64_t CountEntries(const struct bpf_map* map);

}  // namespace orlop
