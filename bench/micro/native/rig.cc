// bench · instructions · one engine on socket pairs. The linker's --wrap leads
// its few questions about TCP here: a socket pair has no addresses, no connect
// and no TCP_INFO.
#include "rig.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/core/descriptor.h"

namespace {
int g_accepted = -1;  // what the next accept4 gives
}

extern "C" {
int __wrap_accept4(int fd, sockaddr* out, socklen_t* length, int) {
  if (g_accepted < 0) {
    errno = EAGAIN;
    return -1;
  }
  uint64_t one = 0;
  if (read(fd, &one, sizeof one) < 0) abort();
  *length = sizeof(sockaddr_in);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  memcpy(out, &address, sizeof address);
  const int accepted = g_accepted;
  g_accepted = -1;
  return accepted;
}

int __real_getsockopt(int fd, int level, int name, void* value, socklen_t* length);

uint64_t __wrap_uv_now(const uv_loop_t*) {
  return 1'000;
}

int __wrap_getsockname(int, sockaddr* out, socklen_t* length) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(40'000);
  memcpy(out, &address, sizeof address);
  *length = sizeof address;
  return 0;
}

int __wrap_connect(int, const sockaddr*, socklen_t) {
  return 0;
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

namespace orlop::bench {
namespace {

constexpr uint32_t kPod = 1;
constexpr uint32_t kOrigin = 1;
constexpr int kTurns = 3;

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "rig: %s\n", what);
  exit(1);
}

// Never asleep: an idle handle is the other work that a thread would have.
uv_loop_t* TheLoop() {
  static uv_loop_t loop;
  static uv_idle_t busy;
  static const bool made = uv_loop_init(&loop) == 0 && uv_idle_init(&loop, &busy) == 0 &&
                           uv_idle_start(&busy, [](uv_idle_t*) {}) == 0;
  if (!made) Fail("no loop");
  return &loop;
}

uint8_t* Arena() {
  alignas(16) static uint8_t arena[ORLOP_ARENA_SIZE];
  return arena;
}

int FarEnd(int* near) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) Fail("socketpair");
  *near = pair[0];
  return pair[1];
}

uint64_t Hear(int fd) {
  static uint8_t bytes[65'536];
  uint64_t heard = 0;
  for (ssize_t got = 0; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;) heard += static_cast<uint64_t>(got);
  return heard;
}

}  // namespace

Rig::Rig(uint32_t answer, HttpReading reading, size_t most_applications)
    : answer_(answer),
      reading_(reading),
      most_applications_(most_applications),
      engine_(new Engine(TheLoop(), Arena(), Handle, this)) {
  if (engine_->Open() != 0) Fail("the engine does not open");
  engine_->SetPod(kPod, 1, 0);
  listener_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (!engine_->AddListener(kPod, ListenerKind::kInbound, Descriptor(listener_))) Fail("the listener");
  int near = -1;
  peer_ = FarEnd(&near);
  engine_->hbone().Accept(kPod, 0, Descriptor(near), Endpoint{});
  // All that plain_tls.cc wants of a handshake.
  Say("\x16");
}

void Rig::Say(const std::string& bytes) {
  if (send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    Fail("the tunnel is gone or full");
  Work();
}

void Rig::Work() {
  for (int turn = 0; turn < kTurns; turn++) {
    engine_->loop().Again();
    uv_run(TheLoop(), UV_RUN_NOWAIT);
  }
  peer_heard_ += Hear(peer_);
  asked_.clear();
  for (const int fd : callers_) callers_heard_ += Hear(fd);
  for (const int fd : applications_) {
    const uint64_t heard = Hear(fd);
    if (heard > 0) asked_.push_back(fd);
    applications_heard_ += heard;
  }
}

void Rig::Call() {
  callers_.push_back(FarEnd(&g_accepted));
  const uint64_t one = 1;
  if (write(listener_, &one, sizeof one) < 0) Fail("the listener");
  Work();
}

void Rig::CallerSays(const std::string& bytes) {
  if (send(callers_.back(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
    Fail("the call is gone or full");
  Work();
}

void Rig::CallersSay(const std::string& bytes) {
  for (const int fd : callers_) {
    if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      Fail("a call is gone or full");
  }
  Work();
}

void Rig::EndCall() {
  const int caller = callers_.back();
  callers_.pop_back();
  shutdown(caller, SHUT_WR);
  Work();
  for (size_t i = applications_.size(); i-- > 0;) {
    uint8_t byte;
    if (recv(applications_[i], &byte, 1, MSG_PEEK) != 0) continue;
    close(applications_[i]);
    applications_.erase(applications_.begin() + static_cast<long>(i));
  }
  Work();
  if (recv(caller, nullptr, 0, 0) != 0) Fail("the call has not ended");
  close(caller);
}

void Rig::ApplicationSays(const std::string& bytes) {
  // The pool's newest socket is drawn first.
  for (const int fd : applications_) {
    if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      Fail("the application's connection is gone or full");
  }
  Work();
}

void Rig::AskedSay(const std::string& bytes) {
  for (const int fd : asked_) {
    if (send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      Fail("an application's connection is gone or full");
  }
  Work();
}

int32_t Rig::Handle(void* self, uint32_t events) {
  return static_cast<Rig*>(self)->Answer(events);
}

int32_t Rig::Answer(uint32_t events) {
  int32_t answers = 0;
  for (uint32_t i = 0; i < events; i++) {
    orlop_engine_event event;
    memcpy(&event, Arena() + ORLOP_ARENA_EVENTS + i * sizeof event, sizeof event);
    if (event.type == ORLOP_ENGINE_POOL_LOW) Refill(event);
    const bool peer = event.type == ORLOP_ENGINE_PEER_CERTIFICATE;
    const bool call = event.type == ORLOP_ENGINE_ACCEPTED;
    const bool request = event.type == ORLOP_ENGINE_REQUEST;
    if (!peer && !call && !request && event.type != ORLOP_ENGINE_CONNECT_REQUEST) continue;
    if (call && answer_ == ORLOP_ANSWER_SERVE) {
      orlop_engine_answer origin{};
      origin.type = ORLOP_ANSWER_DEFINE_ORIGIN;
      origin.conn = kOrigin;
      origin.requests = static_cast<uint32_t>(OriginWay::kRelay);
      if (callers_.size() == 1) Write(answers++, origin);
    }
    orlop_engine_answer answer{};
    answer.type = peer                                     ? static_cast<uint32_t>(ORLOP_ANSWER_PEER)
                  : request                                ? static_cast<uint32_t>(ORLOP_ANSWER_FORWARD)
                  : !call || answer_ == ORLOP_ANSWER_SERVE ? answer_
                                                           : static_cast<uint32_t>(ORLOP_ANSWER_RELAY);
    answer.conn = event.conn;
    answer.generation = event.generation;
    answer.identity = 7;
    answer.status = request ? 0 : 403;
    answer.expect = event.expect;
    answer.requests = request ? 0 : static_cast<uint32_t>(reading_);
    Write(answers++, answer);
  }
  return answers;
}

void Rig::Write(int32_t place, orlop_engine_answer answer) {
  // Of a request on a connection that is served: its origin.
  const bool origin = answer.type == ORLOP_ANSWER_FORWARD;
  answer.pod_idx = !origin ? kPod : answer_ == ORLOP_ANSWER_SERVE ? kOrigin : 0;
  Endpoint to;
  to.addr.bytes[10] = to.addr.bytes[11] = 0xff;
  to.port = 80;
  answer.to = ToRecord(to);
  memcpy(Arena() + ORLOP_ARENA_ANSWERS + static_cast<size_t>(place) * sizeof answer, &answer, sizeof answer);
}

void Rig::Refill(const orlop_engine_event& event) {
  if (applications_.size() >= most_applications_) return;
  int near = -1;
  applications_.push_back(FarEnd(&near));
  engine_->AddSocket(event.pod_idx, static_cast<SocketKind>(event.kind), Descriptor(near));
}

}  // namespace orlop::bench
