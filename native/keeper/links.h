// keeper · one pinned bpf_link: attached, moved to a newer program in place, detached. Knows no JavaScript.
#pragma once

#include <linux/bpf.h>

#include <string>

namespace orlop {

struct LinkResult {
  int err = 0;  // 0 or -errno
  const char* syscall = "";
  bool made = false;  // False: it was pinned already and now runs the new program.
};

// `target` is a cgroup directory or a network namespace. -EBUSY: the pinned link is on another target, or on
// a target that is gone.
LinkResult AttachOrUpdate(int program, int target, enum bpf_attach_type type, const std::string& pin);

// Detaches at once, even when another process holds the link, and removes the pin. -ENOENT: there was none.
int DetachPinned(const std::string& pin);

}  // namespace orlop
