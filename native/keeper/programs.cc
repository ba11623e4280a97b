// keeper · class Programs, declared in agent/keeper/addon.ts: the eBPF object loaded, linked and updated in place.
#include "keeper/programs.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "keeper/links.h"
#include "keeper/load.h"
#include "keeper/map_entries.h"
#include "orlop.skel.h"
#include "orlop_abi.h"
#include "shared/args.h"
#include "shared/errno_error.h"
#include "shared/kernel_map.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

std::string Hex(const uint8_t* bytes, size_t size) {
  static const char digits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < size; i++) out += {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
  return out;
}

// The nice value of threads that load programs ahead. A load takes tens of milliseconds of a processor, which a pod that begins just now needs more.
// Where a seccomp profile refuses the call, the thread keeps its priority. Without CAP_SYS_NICE a thread cannot raise its priority again.
constexpr int kLeastPriority = 19;

// Loads one pod's copy of the sk_lookup program on a thread of its own, for which a thread of libuv's pool waits. `common` stays open
// until then.
class LookupLoad : public Napi::AsyncWorker {
 public:
  LookupLoad(Napi::Env env, std::shared_ptr<const struct orlop_bpf> common, uint32_t pod_idx)
      : Napi::AsyncWorker(env),
        common_(std::move(common)),
        pod_idx_(pod_idx),
        done_(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise Promise() const { return done_.Promise(); }

 private:
  void Execute() override {
    std::thread([this] {
      setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kLeastPriority);
      Load();
    }).join();
  }
  void Load() {
    Skeleton copy;
    result_ = LoadLookup(*common_, pod_idx_, &copy);
    if (result_.err < 0) return;
    program_.reset(fcntl(bpf_program__fd(copy->progs.orlop_lookup), F_DUPFD_CLOEXEC, 3));
    if (!program_) result_ = {-errno, "fcntl(F_DUPFD_CLOEXEC)", ""};
  }
  void OnOK() override {
    if (result_.err < 0) {
      done_.Reject(ErrnoError(Env(), -result_.err, result_.syscall, result_.what).Value());
    } else {
      done_.Resolve(Napi::Number::New(Env(), program_.release()));
    }
  }

  const std::shared_ptr<const struct orlop_bpf> common_;
  const uint32_t pod_idx_;
  const Napi::Promise::Deferred done_;
  LoadResult result_;
  UniqueFd program_;
};

class Programs : public Napi::ObjectWrap<Programs> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    auto* map_class = new Napi::FunctionReference(Napi::Persistent(DefineKernelMap(env)));
    env.SetInstanceData(map_class);
    exports.Set("KernelMap", map_class->Value());
    exports.Set("pinnedMap", Napi::Function::New<PinnedMap>(env, "pinnedMap"));
    exports.Set("Programs", DefineClass(env, "Programs",
                                        {
                                            InstanceMethod<&Programs::Map>("map"),
                                            InstanceMethod<&Programs::AttachCgroup>("attachCgroup"),
                                            InstanceMethod<&Programs::LoadAhead>("loadLookup"),
                                            InstanceMethod<&Programs::AttachNamespace>("attachNamespace"),
                                            InstanceMethod<&Programs::Move>("moveLink"),
                                            InstanceMethod<&Programs::Detach>("detach"),
                                            InstanceMethod<&Programs::States>("programs"),
                                            InstanceMethod<&Programs::Maps>("maps"),
                                            InstanceMethod<&Programs::TestLookup>("testLookup"),
                                            InstanceMethod<&Programs::Close>("close"),
                                        }));
  }

  explicit Programs(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Programs>(info) {
    Napi::Object options;
    if (!ArgObject(info, 0, &options)) return;
    const Napi::Value dir = options.Get("pinDir"), limit = options.Get("heartbeatLimitNs"),
                      sizes = options.Get("maxEntries");
    if (!dir.IsString() || !limit.IsBigInt() || !(sizes.IsObject() || sizes.IsUndefined())) {
      BadArgument(info, 0, "an object with pinDir, heartbeatLimitNs and perhaps maxEntries");
      return;
    }
    bool lossless = false;
    const uint64_t limit_ns = limit.As<Napi::BigInt>().Uint64Value(&lossless);
    if (!lossless) {
      BadArgument(info, 0, "an object with a heartbeatLimitNs of 64 bit");
      return;
    }
    std::map<std::string, uint32_t> max_entries;
    if (!ReadSizes(info, sizes, &max_entries)) return;
    Skeleton loaded;
    const LoadResult result =
        LoadObject({dir.As<Napi::String>().Utf8Value(), limit_ns, std::move(max_entries)}, &loaded);
    skeleton_ = std::move(loaded);
    if (result.err < 0) ThrowErrno(info.Env(), -result.err, result.syscall, result.what);
  }

 private:
  static bool ReadSizes(const Napi::CallbackInfo& info, const Napi::Value& sizes,
                        std::map<std::string, uint32_t>* out) {
    if (!sizes.IsObject()) return true;
    const auto object = sizes.As<Napi::Object>();
    const Napi::Array names = object.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); i++) {
      const Napi::Value name = names[i], size = object.Get(name);
      const double entries = size.IsNumber() ? size.As<Napi::Number>().DoubleValue() : 0;
      if (!(entries >= 1 && entries <= UINT32_MAX) || entries != static_cast<uint32_t>(entries))
        return BadArgument(info, 0, "an object whose maxEntries are whole numbers from 1 on");
      (*out)[name.ToString().Utf8Value()] = static_cast<uint32_t>(entries);
    }
    return true;
  }

  bool Open(const Napi::CallbackInfo& info) const {
    if (skeleton_) return true;
    ThrowErrno(info.Env(), EBADF, "Programs", "closed");
    return false;
  }

  // One object per map for the life of the Programs: each holds a descriptor.
  Napi::Value Map(const Napi::CallbackInfo& info) {
    std::string name;
    if (!Open(info) || !ArgString(info, 0, &name)) return info.Env().Undefined();
    Napi::ObjectReference& known = maps_[name];
    if (!known.IsEmpty()) return known.Value();
    const struct bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, name.c_str());
    if (map == nullptr) {
      ThrowErrno(info.Env(), ENOENT, "bpf_object__find_map_by_name", name);
      return info.Env().Undefined();
    }
    const Napi::Value made = NewMap(info.Env(), bpf_map__fd(map));
    if (made.IsObject()) known = Napi::Persistent(made.As<Napi::Object>());
    return made;
  }

  void AttachCgroup(const Napi::CallbackInfo& info) {
    std::string cgroup, pins, which;
    if (!Open(info) || !ArgString(info, 0, &cgroup) || !ArgString(info, 1, &pins) ||
        !ArgString(info, 2, &which))
      return;
    if (which != "all" && which != "sockops-only" && which != "node" && which != "pending") {
      BadArgument(info, 2, "\"all\", \"sockops-only\", \"node\" or \"pending\"");
      return;
    }
    const UniqueFd fd(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return ThrowErrno(info.Env(), errno, "open", cgroup);
    const int err = MakeDirectory(pins);
    if (err < 0) return ThrowErrno(info.Env(), -err, "mkdir", pins);
    // Capture last: what it relies on is in place by then.
    const auto& progs = skeleton_->progs;
    std::vector<struct bpf_program*> order = {progs.orlop_sockops};
    if (which == "node")
      order = {progs.orlop_node_sockops, progs.orlop_node_connect4, progs.orlop_node_connect6};
    if (which == "pending")
      order = {progs.orlop_pending_ingress, progs.orlop_pending_egress, progs.orlop_pending_connect4,
               progs.orlop_pending_connect6};
    if (which == "all")
      order.insert(order.end(),
                   {progs.orlop_peer4, progs.orlop_peer6, progs.orlop_connect4, progs.orlop_connect6});
    std::vector<std::string> made;
    for (struct bpf_program* program : order) {
      const std::string pin = pins + "/" + bpf_program__name(program);
      const LinkResult result =
          AttachOrUpdate(bpf_program__fd(program), fd.get(), bpf_program__expected_attach_type(program), pin);
      if (result.err == 0) {
        if (result.made) made.push_back(pin);
        continue;
      }
      // All or nothing; what was there before stays.
      for (const std::string& one : made) DetachPinned(one);
      return ThrowErrno(info.Env(), -result.err, result.syscall, pin);
    }
  }

  Napi::Value LoadAhead(const Napi::CallbackInfo& info) {
    int64_t pod_idx = 0;
    if (!Open(info) || !ArgInt(info, 0, 1, UINT32_MAX, &pod_idx)) return info.Env().Undefined();
    auto* load = new LookupLoad(info.Env(), skeleton_, static_cast<uint32_t>(pod_idx));
    const Napi::Promise promise = load->Promise();
    load->Queue();
    return promise;
  }

  void AttachNamespace(const Napi::CallbackInfo& info) {
    int netns = -1, loaded_ahead = -1;
    std::string pin;
    int64_t pod_idx = 0;
    if (!Open(info) || !ArgFd(info, 0, &netns) || !ArgString(info, 1, &pin) ||
        !ArgInt(info, 2, 0, UINT32_MAX, &pod_idx))
      return;
    if (!info[3].IsUndefined() && !ArgFd(info, 3, &loaded_ahead)) return;
    int program = loaded_ahead >= 0 ? loaded_ahead : bpf_program__fd(skeleton_->progs.orlop_lookup);
    Skeleton copy;
    if (pod_idx != 0 && loaded_ahead < 0) {
      const LoadResult loaded = LoadLookup(*skeleton_, static_cast<uint32_t>(pod_idx), &copy);
      if (loaded.err < 0) return ThrowErrno(info.Env(), -loaded.err, loaded.syscall, loaded.what);
      program = bpf_program__fd(copy->progs.orlop_lookup);
    }
    const LinkResult result = AttachOrUpdate(program, netns, BPF_SK_LOOKUP, pin);
    if (result.err < 0) return ThrowErrno(info.Env(), -result.err, result.syscall, pin);
    // The link keeps the copy; we keep a descriptor for its numbers.
    lookups_.erase(pin);
    if (pod_idx != 0) lookups_[pin] = UniqueFd(fcntl(program, F_DUPFD_CLOEXEC, 3));
  }

  void Move(const Napi::CallbackInfo& info) {
    std::string name, from, to;
    if (!Open(info) || !ArgString(info, 0, &name) || !ArgString(info, 1, &from) || !ArgString(info, 2, &to))
      return;
    const struct bpf_program* program = bpf_object__find_program_by_name(skeleton_->obj, name.c_str());
    if (program == nullptr) return ThrowErrno(info.Env(), ENOENT, "bpf_object__find_program_by_name", name);
    const LinkResult result = MoveLink(bpf_program__fd(program), from, to);
    if (result.err < 0) ThrowErrno(info.Env(), -result.err, result.syscall, from);
  }

  static Napi::Value PinnedMap(const Napi::CallbackInfo& info) {
    std::string path;
    if (!ArgString(info, 0, &path)) return info.Env().Undefined();
    const UniqueFd fd(bpf_obj_get(path.c_str()));
    if (!fd) {
      ThrowErrno(info.Env(), errno, "bpf(BPF_OBJ_GET)", path);
      return info.Env().Undefined();
    }
    return NewMap(info.Env(), fd.get());
  }

  // Undefined, with an exception pending, when it is no map.
  static Napi::Value NewMap(Napi::Env env, int fd) {
    const Napi::Object made =
        env.GetInstanceData<Napi::FunctionReference>()->New({Napi::Number::New(env, fd)});
    if (env.IsExceptionPending()) return env.Undefined();
    return made;
  }

  Napi::Value Detach(const Napi::CallbackInfo& info) {
    std::string pin;
    if (!ArgString(info, 0, &pin)) return info.Env().Undefined();
    const int err = DetachPinned(pin);
    lookups_.erase(pin);
    if (err < 0 && err != -ENOENT) {
      ThrowErrno(info.Env(), -err, "bpf(BPF_LINK_DETACH)", pin);
      return info.Env().Undefined();
    }
    return Napi::Boolean::New(info.Env(), err == 0);
  }

  Napi::Value States(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    Napi::Array out = Napi::Array::New(info.Env());
    struct bpf_program* program = nullptr;
    uint32_t at = 0;
    bpf_object__for_each_program(program, skeleton_->obj) {
      struct bpf_prog_info state = {};
      uint32_t size = sizeof(state);
      const int err = bpf_obj_get_info_by_fd(bpf_program__fd(program), &state, &size);
      if (err < 0) {
        ThrowErrno(info.Env(), -err, "bpf(BPF_OBJ_GET_INFO_BY_FD)", bpf_program__name(program));
        return info.Env().Undefined();
      }
      if (program == skeleton_->progs.orlop_lookup) {
        for (const auto& [pin, copy] : lookups_) {
          struct bpf_prog_info own = {};
          uint32_t own_size = sizeof(own);
          if (bpf_obj_get_info_by_fd(copy.get(), &own, &own_size) != 0) continue;
          state.run_cnt += own.run_cnt;
          state.run_time_ns += own.run_time_ns;
        }
      }
      Napi::Object one = Napi::Object::New(info.Env());
      one.Set("name", bpf_program__name(program));
      one.Set("attach", bpf_program__section_name(program));
      one.Set("tag", Hex(state.tag, sizeof(state.tag)));
      one.Set("id", state.id);
      one.Set("verifiedInstructions", state.verified_insns);
      one.Set("runs", static_cast<double>(state.run_cnt));
      one.Set("runNs", static_cast<double>(state.run_time_ns));
      out.Set(at++, one);
    }
    return out;
  }

  Napi::Value Maps(const Napi::CallbackInfo& info) {
    if (!Open(info)) return info.Env().Undefined();
    Napi::Array out = Napi::Array::New(info.Env());
    struct bpf_map* map = nullptr;
    uint32_t at = 0;
    bpf_object__for_each_map(map, skeleton_->obj) {
      if (bpf_map__is_internal(map)) continue;
      struct bpf_map_info state = {};
      uint32_t size = sizeof(state);
      const int err = bpf_obj_get_info_by_fd(bpf_map__fd(map), &state, &size);
      if (err < 0) {
        ThrowErrno(info.Env(), -err, "bpf(BPF_OBJ_GET_INFO_BY_FD)", bpf_map__name(map));
        return info.Env().Undefined();
      }
      Napi::Object one = Napi::Object::New(info.Env());
      one.Set("name", bpf_map__name(map));
      one.Set("type", libbpf_bpf_map_type_str(bpf_map__type(map)));
      one.Set("entries", static_cast<double>(CountEntries(map)));
      one.Set("maxEntries", bpf_map__max_entries(map));
      one.Set("id", state.id);
      out.Set(at++, one);
    }
    return out;
  }

  Napi::Value TestLookup(const Napi::CallbackInfo& info) {
    std::string remote, local;
    int64_t remote_port = 0, local_port = 0;
    if (!Open(info) || !ArgString(info, 0, &remote) || !ArgInt(info, 1, 0, 65535, &remote_port) ||
        !ArgString(info, 2, &local) || !ArgInt(info, 3, 0, 65535, &local_port))
      return info.Env().Undefined();
    struct bpf_sk_lookup ctx = {}, after = {};
    ctx.family = local.find(':') == std::string::npos ? AF_INET : AF_INET6;
    ctx.protocol = IPPROTO_TCP;
    ctx.remote_port = htons(static_cast<uint16_t>(remote_port));
    ctx.local_port = static_cast<uint32_t>(local_port);
    const bool v4 = ctx.family == AF_INET;
    if (inet_pton(static_cast<int>(ctx.family), remote.c_str(),
                  v4 ? static_cast<void*>(&ctx.remote_ip4) : ctx.remote_ip6) != 1 ||
        inet_pton(static_cast<int>(ctx.family), local.c_str(),
                  v4 ? static_cast<void*>(&ctx.local_ip4) : ctx.local_ip6) != 1) {
      BadArgument(info, 0, "an address of the same family as argument 2");
      return info.Env().Undefined();
    }
    DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &ctx, .ctx_out = &after,
                        .ctx_size_in = sizeof(ctx), .ctx_size_out = sizeof(after));
    const int err = bpf_prog_test_run_opts(bpf_program__fd(skeleton_->progs.orlop_lookup), &opts);
    if (err < 0) {
      ThrowErrno(info.Env(), -err, "bpf(BPF_PROG_TEST_RUN)");
      return info.Env().Undefined();
    }
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("verdict", opts.retval == SK_PASS ? "pass" : "drop");
    out.Set("socketCookie", Napi::BigInt::New(info.Env(), static_cast<uint64_t>(after.cookie)));
    return out;
  }

  // The maps that were handed out are closed with it.
  void Close(const Napi::CallbackInfo&) {
    for (auto& [name, map] : maps_) {
      if (map.IsEmpty()) continue;
      const Napi::Object object = map.Value();
      object.Get("close").As<Napi::Function>().Call(object, {});
    }
    maps_.clear();
    lookups_.clear();
    skeleton_.reset();
  }

  std::shared_ptr<struct orlop_bpf> skeleton_;
  // Pods' own copies of the sk_lookup program, by the pin of their link.
  std::map<std::string, UniqueFd> lookups_;
  std::map<std::string, Napi::ObjectReference> maps_;
};

}  // namespace

void InitPrograms(Napi::Env env, Napi::Object exports) {
  Programs::Init(env, exports);
}

}  // namespace orlop
