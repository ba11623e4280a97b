// any thread · sockets as the keeper would open them inside a pod, opened in the namespace of the caller.
#include "engine/relay/plain_sockets.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "engine/core/endpoint.h"
#include "shared/args.h"
#include "shared/errno_error.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

Napi::Value Throw(Napi::Env env, int error, const char* call) {
  ThrowErrno(env, error, call);
  return env.Undefined();
}

Napi::Value UnconnectedSocket(const Napi::CallbackInfo& info) {
  int64_t version = 0;
  if (!ArgInt(info, 0, 4, 6, &version)) return info.Env().Undefined();
  const int family = version == 6 ? AF_INET6 : AF_INET;
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
  return fd < 0 ? Throw(info.Env(), errno, "socket") : Napi::Number::New(info.Env(), fd);
}

Napi::Value ListenSocket(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string text;
  int64_t wanted = 0;
  if (!ArgString(info, 0, &text) || !ArgInt(info, 1, 0, UINT16_MAX, &wanted)) return env.Undefined();
  sockaddr_storage address{};
  socklen_t length;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
  const uint16_t port = htons(static_cast<uint16_t>(wanted));
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    length = sizeof *v4;
  } else if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    length = sizeof *v6;
  } else {
    return Throw(env, EINVAL, "inet_pton");
  }
  UniqueFd fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (fd) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  Endpoint local;
  if (!fd || bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(fd.get(), 4096) != 0 ||
      getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      !FromSockaddr(address, length, &local)) {
    return Throw(env, errno, "listen");
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("fd", fd.release());
  result.Set("port", local.port);
  return result;
}

}  // namespace

void InitPlainSockets(Napi::Env env, Napi::Object exports) {
  exports.Set("unconnectedSocket", Napi::Function::New<UnconnectedSocket>(env, "unconnectedSocket"));
  exports.Set("listenSocket", Napi::Function::New<ListenSocket>(env, "listenSocket"));
}

}  // namespace orlop
