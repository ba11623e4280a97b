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

// Hands the link pinned at `from` over to `program` in place, so that its target is never without a program,
// and moves the pin to `to`. May be repeated after a crash half way. Removes the pin of a link whose target is
// gone. When another link is pinned at `to` already, that link gets the program and the link of `from` ends.
// -ENOENT: nothing is pinned at `from`.
LinkResult MoveLink(int program, const std::string& from, const std::string& to);

// Detaches at once, even when another process holds the link, and removes the pin. -ENOENT: there was none.
int DetachPinned(const std::string& pin);

}  // namespace orlop
