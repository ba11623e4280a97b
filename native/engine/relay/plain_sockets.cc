// any thread · what the keeper would open inside a pod, opened here and now.
#include "engine/relay/plain_sockets.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "engine/core/endpoint.h"
#include "shared/errno_error.h"

namespace orlop {
namespace {

Napi::Value Throw(Napi::Env env, int error, const char* call) {
  ThrowErrno(env, error, call);
  return env.Undefined();
}

Napi::Value UnconnectedSocket(const Napi::CallbackInfo& info) {
  const int family = info[0].ToNumber().Int32Value() == 6 ? AF_INET6 : AF_INET;
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd < 0 ? Throw(info.Env(), errno, "socket") : Napi::Number::New(info.Env(), fd);
}

Napi::Value ListenSocket(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string text = info[0].ToString();
  sockaddr_storage address{};
  socklen_t length;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address);
  const uint16_t port = htons(static_cast<uint16_t>(info[1].ToNumber().Uint32Value()));
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
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  Endpoint local;
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(fd, 4096) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      !FromSockaddr(address, length, &local)) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return Throw(env, error, "listen");
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("fd", fd);
  result.Set("port", local.port);
  return result;
}

}  // namespace

void InitPlainSockets(Napi::Env env, Napi::Object exports) {
  exports.Set("unconnectedSocket", Napi::Function::New<UnconnectedSocket>(env, "unconnectedSocket"));
  exports.Set("listenSocket", Napi::Function::New<ListenSocket>(env, "listenSocket"));
}

}  // namespace orlop
