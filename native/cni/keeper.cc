// plug-in · the exchange with the keeper (agent/keeper/pod-starts.ts).
#include "cni/keeper.h"

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "cni/json.h"
#include "shared/fd_passing.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

// For a word of the keeper. The kubelet tries again after it.
constexpr int64_t kWordMs = 8000;
// Of one call, however often the keeper asks for more time.
constexpr int64_t kMostMs = 40000;
// Between two attempts to reach a keeper that is just starting.
constexpr int64_t kAgainMs = 20;

const uint8_t* BytesOf(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// False: the time is over.
bool WaitReadable(int socket, int64_t deadline_ms) {
  for (;;) {
    const int64_t left = deadline_ms - CniNowMs();
    if (left <= 0) return false;
    pollfd wanted = {socket, POLLIN, 0};
    const int ready = poll(&wanted, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

CniAnswer Read(const Packet& packet) {
  const std::string_view text(reinterpret_cast<const char*>(packet.bytes.data()), packet.bytes.size());
  std::vector<JsonMember> members;
  std::string_view op;
  std::string_view why;
  if (!ReadJsonObject(text, &members) || !PlainJsonString(JsonValueOf(members, "op"), &op)) {
    return {CniAnswer::Word::kNobody, "the keeper's answer makes no sense"};
  }
  PlainJsonString(JsonValueOf(members, "why"), &why);
  if (op == "in-force") return {CniAnswer::Word::kInForce, ""};
  if (op == "not-ours") return {CniAnswer::Word::kNotOurs, ""};
  if (op == "wait") return {CniAnswer::Word::kWait, ""};
  return {CniAnswer::Word::kRefused, std::string(why)};
}

// One attempt. Each word by which the keeper asks for more time puts the deadline off, to `last_ms` at most.
CniAnswer Ask(std::string_view path, const std::string& request, int netns, int64_t* deadline_ms,
              int64_t last_ms) {
  const auto nobody = [](const char* what, int error) {
    return CniAnswer{CniAnswer::Word::kNobody, std::string(what) + ": " + strerror(-error)};
  };
  UniqueFd socket;
  const int connected = ConnectUnix(std::string(path), &socket);
  if (connected < 0) return nobody("the keeper's socket", connected);
  const int sent = SendPacket(socket.get(), BytesOf(request), request.size(), {netns});
  if (sent < 0) return nobody("the keeper does not read", sent);
  for (;;) {
    if (!WaitReadable(socket.get(), *deadline_ms))
      return nobody("the keeper has not answered in time", -ETIMEDOUT);
    Packet packet;
    const int got = ReceivePacket(socket.get(), &packet);
    if (got <= 0) return nobody("the keeper ended the connection", got < 0 ? got : -ECONNRESET);
    CniAnswer answer = Read(packet);
    if (answer.word != CniAnswer::Word::kWait) return answer;
    *deadline_ms = std::min(CniNowMs() + kWordMs, last_ms);
  }
}

}  // namespace

int64_t CniNowMs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

CniAnswer AskKeeper(std::string_view socket, const std::string& request, int netns, int64_t began_ms) {
  int64_t deadline_ms = began_ms + kWordMs;
  for (;;) {
    CniAnswer answer = Ask(socket, request, netns, &deadline_ms, began_ms + kMostMs);
    const int64_t left = deadline_ms - CniNowMs();
    if (answer.word != CniAnswer::Word::kNobody || left <= 0) return answer;
    poll(nullptr, 0, static_cast<int>(std::min(left, kAgainMs)));
  }
}

void TellKeeper(std::string_view path, const std::string& notice) {
  UniqueFd socket;
  if (ConnectUnix(std::string(path), &socket) < 0) return;
  SendPacket(socket.get(), BytesOf(notice), notice.size(), {});
}

}  // namespace orlop
