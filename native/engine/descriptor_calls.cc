// a thread with a JavaScript environment · two calls on descriptors that Node does not offer.
#include "engine/descriptor_calls.h"

#include <fcntl.h>

#include <cerrno>

#include "shared/args.h"
#include "shared/errno_error.h"
#include "shared/fd_passing.h"

namespace orlop {
namespace {

Napi::Value Duplicate(const Napi::CallbackInfo& info) {
  int fd = -1;
  if (!ArgFd(info, 0, &fd)) return info.Env().Undefined();
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy >= 0) return Napi::Number::New(info.Env(), copy);
  ThrowErrno(info.Env(), errno, "fcntl(F_DUPFD_CLOEXEC)");
  return info.Env().Undefined();
}

Napi::Value GetPeerCredentials(const Napi::CallbackInfo& info) {
  int fd = -1;
  if (!ArgFd(info, 0, &fd)) return info.Env().Undefined();
  PeerCredentials peer;
  const int err = ReadCredentials(fd, &peer);
  if (err < 0) {
    ThrowErrno(info.Env(), -err, "getsockopt(SO_PEERCRED)");
    return info.Env().Undefined();
  }
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("pid", peer.pid);
  out.Set("uid", peer.uid);
  out.Set("gid", peer.gid);
  return out;
}

}  // namespace

void InitDescriptorCalls(Napi::Env env, Napi::Object exports) {
  exports.Set("duplicate", Napi::Function::New<Duplicate>(env, "duplicate"));
  exports.Set("peerCredentials", Napi::Function::New<GetPeerCredentials>(env, "peerCredentials"));
}

}  // namespace orlop
