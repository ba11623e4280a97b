// keeper · loading of the eBPF object.
#include "keeper/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "orlop_abi.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

constexpr size_t kVerifierLogBytes = 4 << 20;
constexpr size_t kLogLines = 30;
constexpr long kBpfFsMagic = 0xcafe4a11;

// What libbpf says while this thread loads; it has one printer per process.
thread_local std::string* g_libbpf_says = nullptr;

int Listen(enum libbpf_print_level level, const char* format, va_list args) {
  char line[1024];
  if (level == LIBBPF_DEBUG || g_libbpf_says == nullptr) return 0;
  const int size = vsnprintf(line, sizeof(line), format, args);
  // The verifier's log comes with its own buffer.
  if (size > 0 && std::strstr(line, "LOG --") == nullptr && g_libbpf_says->size() < 8192)
    *g_libbpf_says += line;
  return size;
}

std::string LastLines(const char* text) {
  const std::string all(text);
  size_t at = all.find_last_not_of('\n');
  if (at == std::string::npos) return "";
  for (size_t lines = 0; at != std::string::npos && at > 0; at--)
    if (all[at] == '\n' && ++lines == kLogLines) break;
  return all.substr(at == 0 ? 0 : at + 1);
}

// A map that an earlier keeper pinned keeps its size; any other difference is libbpf's to refuse.
void KeepPinnedSize(struct bpf_map* map, const std::string& pin) {
  const UniqueFd pinned(bpf_obj_get(pin.c_str()));
  struct bpf_map_info info = {};
  uint32_t size = sizeof(info);
  if (pinned && bpf_obj_get_info_by_fd(pinned.get(), &info, &size) == 0)
    bpf_map__set_max_entries(map, info.max_entries);
}

// Whether a program of ours may call it: some helpers want CAP_PERFMON besides. Read out of the verifier's
// words, since a refusal for any other reason (what we give it here is no sensible call) is an answer, too;
// libbpf 1.1 does the same, but does not know the words of newer kernels.
bool MayCall(enum bpf_prog_type type, enum bpf_attach_type attach, enum bpf_func_id helper) {
  const struct bpf_insn code[] = {
      {.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = helper},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  std::vector<char> log(4096);
  DECLARE_LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach, .log_level = 1,
                      .log_size = static_cast<uint32_t>(log.size()), .log_buf = log.data());
  const UniqueFd loaded(bpf_prog_load(type, nullptr, "Dual BSD/GPL", code, 2, &opts));
  if (loaded) return true;
  for (const char* refusal : {"cannot use helper", "unknown func ", "invalid func "})
    if (std::strstr(log.data(), refusal) != nullptr) return false;
  return log[0] != '\0';
}

// What libbpf says goes to `text` as long as this lives.
class Listening {
 public:
  explicit Listening(std::string* text) {
    g_libbpf_says = text;
    libbpf_set_print(Listen);
  }
  ~Listening() { g_libbpf_says = nullptr; }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
};

LoadResult SetSizes(struct orlop_bpf* skeleton, const std::string& dir,
                    const std::map<std::string, uint32_t>& sizes) {
  for (const auto& [name, entries] : sizes) {
    struct bpf_map* map = bpf_object__find_map_by_name(skeleton->obj, name.c_str());
    const int err = map == nullptr ? -ENOENT : bpf_map__set_max_entries(map, entries);
    if (err == 0) continue;
    return {err, "bpf_map__set_max_entries", name};
  }
  struct bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) {
    if (bpf_map__is_internal(map)) continue;
    const std::string pin = dir + "/" + bpf_map__name(map);
    KeepPinnedSize(map, pin);
    const int err = bpf_map__set_pin_path(map, pin.c_str());
    if (err == 0) continue;
    return {err, "bpf_map__set_pin_path", pin};
  }
  return {};
}

// The beat of an agent that lives on is kept.
int SetLimit(struct orlop_bpf* skeleton, uint64_t limit_ns) {
  const int fd = bpf_map__fd(skeleton->maps.gate);
  const uint32_t zero = 0;
  struct orlop_gate gate = {};
  const int err = bpf_map_lookup_elem(fd, &zero, &gate);
  if (err < 0) return err;
  gate.limit_ns = limit_ns;
  return bpf_map_update_elem(fd, &zero, &gate, BPF_ANY);
}

}  // namespace

int MakeDirectory(const std::string& path) {
  return mkdir(path.c_str(), 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

LoadResult LoadObject(const LoadOptions& options, Skeleton* out) {
  const std::string& pin_dir = options.pin_dir;
  const std::string map_dir = pin_dir + "/maps";
  int err = MakeDirectory(pin_dir);
  if (err < 0) return {err, "mkdir", pin_dir};
  struct statfs fs = {};
  if (statfs(pin_dir.c_str(), &fs) != 0) return {-errno, "statfs", pin_dir};
  if (static_cast<long>(fs.f_type) != kBpfFsMagic)
    return {-EOPNOTSUPP, "statfs", pin_dir + " is not in a bpf file system"};
  // The directory may be older than we are.
  if (chmod(pin_dir.c_str(), 0700) != 0) return {-errno, "chmod", pin_dir};
  err = MakeDirectory(map_dir);
  if (err < 0) return {err, "mkdir", map_dir};

  std::vector<char> log(kVerifierLogBytes);
  std::string says;
  const Listening listening(&says);
  DECLARE_LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log.data(),
                      .kernel_log_size = log.size());
  Skeleton loaded(orlop_bpf__open_opts(&opts));
  if (!loaded) return {-errno, "bpf_object__open", says};
  const LoadResult sized = SetSizes(loaded.get(), map_dir, options.max_entries);
  if (sized.err < 0) return sized;
  loaded->rodata->have_set_retval =
      MayCall(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, BPF_FUNC_set_retval);
  // Without CONFIG_MPTCP the function exists, but not the type it returns.
  loaded->rodata->have_mptcp =
      access("/proc/sys/net/mptcp", F_OK) == 0 &&
      MayCall(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, BPF_FUNC_skc_to_mptcp_sock);
  says.clear();
  err = orlop_bpf__load(loaded.get());
  if (err < 0) {
    struct utsname kernel = {};
    uname(&kernel);
    return {err, "bpf(BPF_PROG_LOAD)",
            std::string("on Linux ") + kernel.release + "\n" + says + LastLines(log.data())};
  }
  err = SetLimit(loaded.get(), options.limit_ns);
  if (err < 0) return {err, "bpf(BPF_MAP_UPDATE_ELEM)", "gate"};
  *out = std::move(loaded);
  return {};
}

LoadResult LoadLookup(const struct orlop_bpf& common, uint32_t pod_idx, Skeleton* out) {
  std::string says;
  const Listening listening(&says);
  Skeleton copy(orlop_bpf__open());
  if (!copy) return {-errno, "bpf_object__open", says};
  struct bpf_program* program = nullptr;
  bpf_object__for_each_program(program, copy->obj)
      bpf_program__set_autoload(program, program == copy->progs.orlop_lookup);
  struct bpf_map* map = nullptr;
  bpf_object__for_each_map(map, copy->obj) {
    if (bpf_map__is_internal(map)) continue;
    const struct bpf_map* ours = bpf_object__find_map_by_name(common.obj, bpf_map__name(map));
    const int err = ours == nullptr ? -ENOENT : bpf_map__reuse_fd(map, bpf_map__fd(ours));
    if (err < 0) return {err, "bpf_map__reuse_fd", bpf_map__name(map)};
  }
  copy->rodata->own_pod_idx = pod_idx;
  const int err = orlop_bpf__load(copy.get());
  if (err < 0) return {err, "bpf(BPF_PROG_LOAD)", says};
  *out = std::move(copy);
  return {};
}

}  // namespace orlop
