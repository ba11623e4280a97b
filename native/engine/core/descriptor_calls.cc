// any thread · dup with close-on-exec, and who is at the other end of a unix socket.
#include "engine/core/descriptor_calls.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

#include "shared/args.h"
#include "shared/errno_error.h"

namespace orlop {
namespace {

Napi::Value Duplicate(const Napi::CallbackInfo& info) {
  int of = -1;
  if (!ArgFd(info, 0, &of)) return info.Env().Undefined();
  const int fd = fcntl(of, F_DUPFD_CLOEXEC, 3);
  if (fd >= 0) return Napi::Number::New(info.Env(), fd);
  ThrowErrno(info.Env(), errno, "fcntl");
  return info.Env().Undefined();
}

Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  int fd = -1;
  if (!ArgFd(info, 0, &fd)) return env.Undefined();
  ucred who{};
  socklen_t length = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) {
    ThrowErrno(env, errno, "getsockopt");
    return env.Undefined();
  }
  Napi::Object out = Napi::Object::New(env);
  out.Set("pid", Napi::Number::New(env, who.pid));
  out.Set("uid", Napi::Number::New(env, who.uid));
  out.Set("gid", Napi::Number::New(env, who.gid));
  return out;
}

}  // namespace

void InitDescriptorCalls(Napi::Env env, Napi::Object exports) {
  exports.Set("duplicate", Napi::Function::New<Duplicate>(env, "duplicate"));
  exports.Set("peerCredentials", Napi::Function::New<PeerCredentials>(env, "peerCredentials"));
}

}  // namespace orlop
