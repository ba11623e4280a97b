// fuzz · one engine on socket pairs. The linker's --wrap leads the engine's few questions about TCP here:
// a socket pair has no addresses, no connect and no TCP_INFO.
#include "rig.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/core/descriptor.h"
#include "rig_arena.h"

namespace {

using orlop::fuzz::Wrong;

uint64_t g_now_ms = 1'000;
int g_accepted = -1;  // what the next accept4 gives

// The kernel may say no to anything the engine asks: which of its next calls fails, and how.
int g_fail_in = -1;
int g_fail_with = 0;
bool g_engine_runs = false;

bool Fails() {
  if (!g_engine_runs || g_fail_in < 0 || g_fail_in-- > 0) return false;
  errno = g_fail_with;
  return true;
}

socklen_t SomeAddress(sockaddr* out, uint8_t last) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(40'000);
  address.sin_addr.s_addr = htonl(0x0a000000u | last);
  memcpy(out, &address, sizeof address);
  return sizeof address;
}

}  // namespace

extern "C" {
int __real_getsockopt(int fd, int level, int name, void* value, socklen_t* length);
ssize_t __real_recv(int fd, void* bytes, size_t length, int flags);
ssize_t __real_recvmsg(int fd, msghdr* message, int flags);
ssize_t __real_send(int fd, const void* bytes, size_t length, int flags);
ssize_t __real_sendmsg(int fd, const msghdr* message, int flags);
int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);

ssize_t __wrap_recv(int fd, void* bytes, size_t length, int flags) {
  return Fails() ? -1 : __real_recv(fd, bytes, length, flags);
}

ssize_t __wrap_recvmsg(int fd, msghdr* message, int flags) {
  return Fails() ? -1 : __real_recvmsg(fd, message, flags);
}

ssize_t __wrap_send(int fd, const void* bytes, size_t length, int flags) {
  return Fails() ? -1 : __real_send(fd, bytes, length, flags);
}

ssize_t __wrap_sendmsg(int fd, const msghdr* message, int flags) {
  return Fails() ? -1 : __real_sendmsg(fd, message, flags);
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  return operation == EPOLL_CTL_ADD && Fails() ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

uint64_t __wrap_uv_now(const uv_loop_t*) {
  return g_now_ms;
}

int __wrap_getsockname(int, sockaddr* out, socklen_t* length) {
  if (Fails()) return -1;
  *length = SomeAddress(out, 1);
  return 0;
}

int __wrap_accept4(int fd, sockaddr* out, socklen_t* length, int) {
  if (g_accepted < 0) {
    errno = EAGAIN;
    return -1;
  }
  uint64_t one = 0;
  if (read(fd, &one, sizeof one) < 0) Wrong("the listener was not ready");
  *length = SomeAddress(out, 2);
  const int accepted = g_accepted;
  g_accepted = -1;
  return accepted;
}

int __wrap_connect(int, const sockaddr*, socklen_t) {
  return Fails() ? -1 : 0;
}

int __wrap_bind(int, const sockaddr*, socklen_t) {
  return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* length) {
  if (level != IPPROTO_TCP || name != TCP_INFO) return __real_getsockopt(fd, level, name, value, length);
  static_cast<tcp_info*>(value)->tcpi_state = TCP_ESTABLISHED;
  return 0;
}
}

namespace orlop::fuzz {
namespace {

// Never asleep: an idle handle of ours is the other work that a thread would have.
uv_loop_t* TheLoop() {
  static uv_loop_t loop;
  static uv_idle_t busy;
  static const bool made = uv_loop_init(&loop) == 0 && uv_idle_init(&loop, &busy) == 0 &&
                           uv_idle_start(&busy, [](uv_idle_t*) {}) == 0;
  if (!made) Wrong("no loop");
  return &loop;
}

int FirstFree() {
  const int fd = dup(0);
  close(fd);
  return fd;
}

}  // namespace

Rig::Rig(const uint8_t* choices, size_t count) : choices_(choices), choice_count_(count) {
  TheLoop();
  g_now_ms = 1'000;
  g_fail_in = -1;
  first_free_ = FirstFree();
  engine_ = new Engine(TheLoop(), Arena(), Handle, this);
  if (engine_->Open() != 0) Wrong("the engine does not open");
  engine_->SetPod(kPod, 1, 0);
  // So small that an input can exceed it.
  engine_->SetBufferBudget(256 << 10);
  DefineOrigins();
}

// 1 is dialled, 2 is behind a tunnel, 3 is another pod's.
void Rig::DefineOrigins() {
  for (uint32_t number = 1; number <= 3; number++) {
    orlop_engine_answer origin{};
    origin.type = ORLOP_ANSWER_DEFINE_ORIGIN;
    origin.conn = number;
    origin.pod_idx = number == 3 ? kPod + 1 : kPod;
    origin.requests = static_cast<uint32_t>(number == 2 ? OriginWay::kTunnel : OriginWay::kRelay);
    origin.to = SomeEndpoint();
    SetText(&origin, 0, 0, "10.0.0.9:80");
    memcpy(Arena() + ORLOP_ARENA_LATE_ANSWER, &origin, sizeof origin);
    engine_->Submit();
  }
}

Rig::~Rig() {
  listening_ = true;
  Turn();
  if (choice_count_ > 0 && (choices_[0] & 0x80) != 0) EndByItself();
  bool closed = false;
  const Stats before = engine_->stats();
  if (static_cast<uint64_t>(before.streams) > 1'000'000) Wrong("streams were counted below zero");
  engine_->Close([](void* done) { *static_cast<bool*>(done) = true; }, &closed);
  while (!closed) uv_run(TheLoop(), UV_RUN_ONCE);
  const Stats stats = engine_->stats();
  if (stats.connections != 0) Wrong("connections outlive the engine");
  if (stats.tunnels != 0) Wrong("tunnels outlive the engine");
  if (stats.handshakes != 0) Wrong("handshakes are counted wrongly");
  if (engine_->abandoned() != 0) Wrong("abandoned CONNECTs outlive the engine");
  if (engine_->buffer_bytes() != 0) Wrong("buffers outlive their connections");
  delete engine_;
  if (OpenDescriptors() != 0) Wrong("descriptors are counted wrongly");
  for (const int fd : far_ends_) {
    if (fd >= 0) close(fd);
  }
  if (g_accepted >= 0) close(g_accepted);
  g_accepted = -1;
  if (FirstFree() != first_free_) Wrong("a descriptor was left open");
}

// Each far end goes away, and time passes: the longest deadline of a connection is 20 s.
void Rig::EndByItself() {
  g_fail_in = -1;
  for (int round = 0; round < 8; round++) {
    for (size_t who = 0; who < far_ends_.size(); who++) Close(static_cast<uint8_t>(who));
    Pass(10'000);
    Turn();
  }
  const Stats stats = engine_->stats();
  if (stats.connections != 0) Wrong("a connection outlives both its ends");
  if (stats.tunnels != 0) Wrong("a tunnel outlives its peer");
  if (engine_->abandoned() != 0) Wrong("an abandoned CONNECT outlives its tunnel");
  if (engine_->tunnel_groups() != 0) Wrong("a group of tunnels outlives its tunnels");
}

uint8_t Rig::NextChoice() {
  return choice_count_ == 0 ? 0 : choices_[next_choice_++ % choice_count_];
}

int Rig::FarEnd(int* near) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) Wrong("socketpair");
  // Small, so that a full socket is soon reached.
  const int bytes = 4'096;
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  *near = pair[0];
  far_ends_.push_back(pair[1]);
  return pair[1];
}

void Rig::PeerComes() {
  if (far_ends_.size() >= kMostFarEnds || !pod_here_ || engine_->draining()) return;
  int near = -1;
  const int far = FarEnd(&near);
  Endpoint peer;
  peer.addr.bytes[15] = 3;
  engine_->hbone().Accept(kPod, 0, Descriptor(near), peer);
  const uint8_t handshake = 0x16;
  if (send(far, &handshake, 1, MSG_NOSIGNAL) < 0 && errno != EPIPE) Wrong("the handshake");
}

void Rig::ApplicationComes() {
  if (far_ends_.size() >= kMostFarEnds || !pod_here_ || engine_->draining()) return;
  const int listener = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
  if (g_accepted >= 0) close(g_accepted);
  FarEnd(&g_accepted);
  engine_->AddListener(kPod, NextChoice() % 4 == 3 ? ListenerKind::kInbound : ListenerKind::kOutbound,
                       Descriptor(listener));
}

void Rig::Say(uint8_t who, const uint8_t* bytes, size_t length) {
  if (far_ends_.empty()) return;
  const int fd = far_ends_[who % far_ends_.size()];
  bool again = true;
  while (fd >= 0 && length > 0) {
    const ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN && again) {
      Turn();
      again = false;
      continue;
    }
    if (sent <= 0) return;
    again = true;
    bytes += sent;
    length -= static_cast<size_t>(sent);
  }
}

void Rig::EndHalf(uint8_t who) {
  if (far_ends_.empty()) return;
  const int fd = far_ends_[who % far_ends_.size()];
  if (fd >= 0) shutdown(fd, SHUT_WR);
}

void Rig::Close(uint8_t who) {
  if (far_ends_.empty()) return;
  int& fd = far_ends_[who % far_ends_.size()];
  if (fd >= 0) close(fd);
  fd = -1;
}

void Rig::Fail(uint8_t how) {
  static constexpr int errors[] = {ECONNRESET, EPIPE, EAGAIN, EINTR, ENOMEM, ENOBUFS, ETIMEDOUT, EMFILE};
  g_fail_in = how % 32;
  g_fail_with = errors[how / 32];
}

void Rig::Pass(uint64_t ms) {
  g_now_ms += ms;
}

void Rig::RemovePod(bool cut) {
  engine_->RemovePod(kPod, cut);
  pod_here_ = false;
}

void Rig::Retire() {
  engine_->RetireTunnels(0);
}

void Rig::Drain() {
  engine_->Drain();
}

void Rig::Turn() {
  for (int turn = 0; turn < 4; turn++) {
    engine_->loop().Again();
    g_engine_runs = true;
    uv_run(TheLoop(), UV_RUN_NOWAIT);
    g_engine_runs = false;
    if (listening_) Hear();
  }
}

void Rig::Hear() {
  static uint8_t bytes[65'536];
  for (const int fd : far_ends_) {
    while (fd >= 0 && recv(fd, bytes, sizeof bytes, 0) > 0) continue;
  }
}

int32_t Rig::Handle(void* self, uint32_t events) {
  return static_cast<Rig*>(self)->Answer(events);
}

}  // namespace orlop::fuzz
