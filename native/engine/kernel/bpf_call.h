// any thread · bpf(2) itself, and a JavaScript error out of an errno. For files that work on borrowed maps.
#pragma once

#include <linux/bpf.h>
#include <napi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace orlop {

// The result, or -errno.
inline int Bpf(enum bpf_cmd command, union bpf_attr* attr) {
  const long result = syscall(__NR_bpf, command, attr, sizeof(*attr));
  return result < 0 ? -errno : static_cast<int>(result);
}

inline uint64_t BpfPointer(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

// An Error with code ("ENOENT"), errno (positive) and syscall, as Node's own have.
inline void ThrowBpfError(Napi::Env env, int err, const std::string& what) {
  const char* code = strerrorname_np(err);
  Napi::Error error = Napi::Error::New(env, what + ": " + (code != nullptr ? code : std::to_string(err)));
  error.Set("code", code != nullptr ? code : "UNKNOWN");
  error.Set("errno", Napi::Number::New(env, err));
  error.Set("syscall", what);
  error.ThrowAsJavaScriptException();
}

}  // namespace orlop
