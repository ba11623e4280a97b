// 4 · data thread · the first bytes of an accepted connection, which TypeScript wants before it decides; they stay in the socket.
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "engine/core/answer.h"
#include "engine/core/scratch.h"
#include "engine/relay/connection.h"

namespace orlop {
namespace {

// For the bytes of one `peek`.
constexpr uint64_t kPeekMs = 5'000;

}  // namespace

void Connection::OnPeek(const Answer& answer) {
  if (server_stream_) return Finish(CloseCause::kRefused, 503);
  const int wanted = answer.status();
  peeked_ = static_cast<uint16_t>(wanted < 1 ? 1 : wanted > ORLOP_MOST_PEEKED ? ORLOP_MOST_PEEKED : wanted);
  Deadline(kPeekMs);
  Peek();
}

// Each arrival is an edge of epoll, whatever is left unread.
void Connection::Peek() {
  static_assert(Scratch::kRead >= ORLOP_MOST_PEEKED, "a peek has to fit");
  ssize_t got;
  do {
    got = recv(socket_.fd(), services_.buffers.scratch().read, ORLOP_MOST_PEEKED, MSG_PEEK);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return;
  const size_t length = got < 0 ? 0 : static_cast<size_t>(got);
  if (length >= peeked_) return ReportFirstBytes(length, false);
  // A FIN behind bytes shows in poll(2) alone.
  pollfd far{socket_.fd(), POLLRDHUP, 0};
  if (length == 0 || poll(&far, 1, 0) > 0) ReportFirstBytes(length, true);
}

void Connection::ReportFirstBytes(size_t length, bool is_all) {
  peeked_ = 0;
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_FIRST_BYTES;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.detail = is_all;
  const auto* bytes = reinterpret_cast<const char*>(services_.buffers.scratch().read);
  services_.events.Emit(record, {{{bytes, length}, {}, {}, {}}});
  Deadline(kAnswerMs);
}

}  // namespace orlop
