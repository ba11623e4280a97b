// keeper · one pinned bpf_link: attached, moved to a newer program in place, detached. Knows no JavaScript.
#include "keeper/links.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "shared/unique_fd.h"

namespace orlop {
namespace {

// A cgroup's id is the inode number of its directory; a dead target reads 0.
int CheckTarget(int link, int target) {
  struct bpf_link_info info = {};
  uint32_t size = sizeof(info);
  const int err = bpf_obj_get_info_by_fd(link, &info, &size);
  if (err < 0) return err;
  struct stat wanted = {};
  if (fstat(target, &wanted) != 0) return -errno;
  if (info.type == BPF_LINK_TYPE_CGROUP) return info.cgroup.cgroup_id == wanted.st_ino ? 0 : -EBUSY;
  if (info.type == BPF_LINK_TYPE_NETNS) return info.netns.netns_ino == wanted.st_ino ? 0 : -EBUSY;
  return -EBUSY;
}

// 0: not known.
uint32_t LinkId(int link) {
  struct bpf_link_info info = {};
  uint32_t size = sizeof(info);
  return bpf_obj_get_info_by_fd(link, &info, &size) == 0 ? info.id : 0;
}

bool TargetIsGone(int err) {
  return err == -ENOLINK || err == -ESTALE;
}

}  // namespace

LinkResult AttachOrUpdate(int program, int target, enum bpf_attach_type type, const std::string& pin) {
  UniqueFd link(bpf_obj_get(pin.c_str()));
  if (link) {
    int err = CheckTarget(link.get(), target);
    if (err < 0) return {err, "bpf(BPF_OBJ_GET_INFO_BY_FD)", false};
    err = bpf_link_update(link.get(), program, nullptr);
    return {err, "bpf(BPF_LINK_UPDATE)", false};
  }
  if (errno != ENOENT) return {-errno, "bpf(BPF_OBJ_GET)", false};
  link.reset(bpf_link_create(program, target, type, nullptr));
  if (!link) return {-errno, "bpf(BPF_LINK_CREATE)", false};
  // Not pinned: closing the descriptor detaches it again.
  const int err = bpf_obj_pin(link.get(), pin.c_str());
  if (err < 0) return {err, "bpf(BPF_OBJ_PIN)", false};
  return {0, "", true};
}

LinkResult MoveLink(int program, const std::string& from, const std::string& to) {
  const UniqueFd link(bpf_obj_get(from.c_str()));
  if (!link) return {-errno, "bpf(BPF_OBJ_GET)", false};
  int err = bpf_link_update(link.get(), program, nullptr);
  if (TargetIsGone(err)) return {unlink(from.c_str()) == 0 ? 0 : -errno, "unlink", false};
  if (err < 0) return {err, "bpf(BPF_LINK_UPDATE)", false};
  const UniqueFd there(bpf_obj_get(to.c_str()));
  if (!there) {
    err = bpf_obj_pin(link.get(), to.c_str());
    if (err < 0) return {err, "bpf(BPF_OBJ_PIN)", false};
  } else if (LinkId(there.get()) != LinkId(link.get())) {
    err = bpf_link_update(there.get(), program, nullptr);
    if (err < 0) return {err, "bpf(BPF_LINK_UPDATE)", false};
    return {DetachPinned(from), "bpf(BPF_LINK_DETACH)", false};
  }
  return {unlink(from.c_str()) == 0 ? 0 : -errno, "unlink", true};
}

int DetachPinned(const std::string& pin) {
  const UniqueFd link(bpf_obj_get(pin.c_str()));
  if (!link) return -errno;
  const int err = bpf_link_detach(link.get());
  if (unlink(pin.c_str()) != 0) return -errno;
  // What was attached to a target that is gone is detached already.
  return TargetIsGone(err) ? 0 : err;
}

}  // namespace orlop
