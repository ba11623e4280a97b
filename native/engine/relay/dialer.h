// 13 · data thread · connect on a borrowed socket.
#pragma once

#include "engine/core/endpoint.h"

namespace orlop {

// Source address if any, connect(2). Returns 0 when under way, else an errno. The keeper has set the options.
int StartConnect(int fd, const Endpoint& to, const Endpoint* from);
// The outcome of a connect that has ended. `failed`: epoll reported EPOLLERR or EPOLLHUP. 0 or an errno.
int ConnectResult(int fd, bool failed);

}  // namespace orlop
