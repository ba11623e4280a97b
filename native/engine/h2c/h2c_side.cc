// data thread · one side of a connection of HTTP/2: bytes in and out, each as far as a turn's share allows.
#include "engine/h2c/h2c_side.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/core/parted_room.h"
#include "engine/core/scratch.h"

namespace orlop {
namespace {

// Reads of this side in a turn of the thread; then other connections are served.
constexpr int kReadsPerTurn = 4;
// Bytes of frames that wait for an end that is slow. Payload waits behind them in its windows.
constexpr size_t kMostWaiting = 64 * 1024;
constexpr size_t kParts = 4;
// Bytes that a session of frames has while none of them waits: its tables, and its streams.
constexpr size_t kUsualBytes = 64 * 1024;
// And those of frames that wait: for a caller, which gets answers, and for an application, whose own limit may keep requests waiting.
constexpr size_t kMostAnswers = 256 * 1024;
constexpr size_t kMostAsked = 1 << 20;
// A side that spends more than its budget is slowed. If it is still over the budget after this time, its connection ends.
constexpr uint64_t kPatienceMs = 10'000;

// docs/reference/http2.md
constexpr H2Options OptionsOf(Role role) {
  H2Options options;
  options.role = role;
  options.stream_window = 256 * 1024;
  options.connection_window = 1 << 20;
  // All that 100 readers may leave unread: whatever some of them do, the others of the connection go on. What that is of memory is counted
  // for their pod (pod_shares.h).
  options.kept_most = 100 * size_t{256 * 1024};
  options.max_frame = 16'384;
  options.server_streams = 100;
  options.client_streams = 100;
  options.field_bytes = 64 * 1024;
  options.field_bytes_read = 256 * 1024;
  options.memory_most = kUsualBytes + (role == Role::kServer ? kMostAnswers : kMostAsked);
  options.passes_resets = true;
  return options;
}
constexpr H2Options kCallerOptions = OptionsOf(Role::kServer);
constexpr H2Options kApplicationOptions = OptionsOf(Role::kClient);

}  // namespace

H2cSide::H2cSide(const EngineServices& services, User& user)
    : services_(services),
      user_(user),
      toll_(services.clock),
      h2_(*this, toll_),
      out_(services.buffers.chunks),
      slow_([](void* self) { static_cast<H2cSide*>(self)->user_.OnMayReadSide(); }, this) {
  toll_.Use(&budget_);
}

bool H2cSide::Open(Role role, ByteEnd& end, std::string first) {
  end_ = &end;
  first_ = std::move(first);
  is_server_ = role == Role::kServer;
  opened_ = h2_.Open(role == Role::kServer ? kCallerOptions : kApplicationOptions);
  return opened_;
}

void H2cSide::Stop() {
  slow_.Cancel();
  h2_.Stop();
  CountFrames(0);
  out_.Clear();
  std::string().swap(first_);
}

// Bytes in.

bool H2cSide::Use(const uint8_t* bytes, size_t length, size_t* used) {
  heard_ = true;
  return h2_.Receive(bytes, length, used);
}

H2cSide::Got H2cSide::Receive() {
  if (slow_.armed() || silent_) return Got::kNothing;
  // A caller that leaves its answers waiting causes no more of them, nor of resets and acknowledgements.
  if (is_server_ && h2_.crowded() && !end_->failing()) {
    held_back_ = true;
    return Got::kNothing;
  }
  toll_.Begin(services_.turn.number());
  const uint32_t before = toll_.work_done();
  const Got got = Read();
  work_ += toll_.work_done() - before;
  if (got != Got::kBroken) HeedToll();
  if (got != Got::kMore) return got;
  return slow_.armed() ? Got::kNothing : Got::kMore;
}

H2cSide::Got H2cSide::Read() {
  Got got = Got::kMore;
  for (int reads = 0; got == Got::kMore && reads < kReadsPerTurn && !toll_.Stops(); reads++) {
    size_t used = 0;
    if (!first_.empty()) {
      if (!Use(reinterpret_cast<const uint8_t*>(first_.data()), first_.size(), &used)) got = Got::kBroken;
      first_.erase(0, used);
      continue;
    }
    Pieces pieces;
    const int found = end_->Front(&pieces);
    if (found < 0) {
      error_ = -found;
      return Got::kFailed;
    }
    if (found == 0) {
      got = reset_ ? Got::kFailed : end_->ended() ? Got::kEnded : Got::kNothing;
      break;
    }
    size_t taken = 0;
    for (int i = 0; i < pieces.count && got == Got::kMore; i++) {
      const iovec& piece = pieces.list[i];
      used = 0;
      if (!Use(static_cast<const uint8_t*>(piece.iov_base), piece.iov_len, &used)) got = Got::kBroken;
      taken += used;
      if (used < piece.iov_len) break;
    }
    end_->Drop(taken);
    if (taken == 0) break;
  }
  return got;
}

void H2cSide::HeedToll() {
  const uint64_t wait = toll_.TakeWait();
  if (wait == 0) return;
  services_.stats.slowed++;
  services_.pauses.Start(&slow_, wait);
  if (toll_.ShortFor() >= kPatienceMs) abuses_ = true;
}

bool H2cSide::Discard() {
  std::string().swap(first_);
  for (int reads = 0; reads < kReadsPerTurn; reads++) {
    Pieces pieces;
    const int found = end_->Front(&pieces);
    if (found < 0) return false;
    if (found == 0) return !end_->ended();
    end_->Drop(pieces.bytes);
  }
  return true;
}

// Bytes out.

int H2cSide::WriteOut() {
  if (end_->pulls()) {
    if (!out_.empty() || fin_) end_->Wake();
    return 0;
  }
  while (!out_.empty() && end_->writable()) {
    iovec list[Scratch::kPieces];
    Pieces pieces{list, out_.Front(list, Scratch::kPieces), 0};
    for (int i = 0; i < pieces.count; i++) pieces.bytes += list[i].iov_len;
    const ssize_t taken = end_->Write(pieces);
    if (taken < 0) return static_cast<int>(-taken);
    if (taken == 0) return 0;
    out_.Drop(static_cast<size_t>(taken));
    written_ += static_cast<uint64_t>(taken);
  }
  return 0;
}

int H2cSide::Flush() {
  if (mute_) return 0;
  int error = 0;
  bool was_full = false;
  // A socket that has taken all that waited says nothing more: what nghttp2 has kept meanwhile follows at once.
  do {
    error = Produce();
    was_full = out_.size() >= kMostWaiting;
    if (error == 0) error = WriteOut();
  } while (error == 0 && was_full && out_.size() < kMostWaiting);
  if (error == 0 && out_.empty() && fin_ && !end_->pulls()) end_->ShutWrite();
  if (!is_server_ && (error == ECONNRESET || error == EPIPE)) {
    error = 0;
    mute_ = true;
    user_.OnMayReadSide();
  }
  const size_t memory = h2_.memory();
  CountFrames(memory > kUsualBytes ? memory - kUsualBytes : 0);
  if (held_back_ && !h2_.crowded()) {
    held_back_ = false;
    user_.OnMayReadSide();
  }
  return error;
}

void H2cSide::CountFrames(size_t bytes) {
  services_.buffers.frames += bytes - counted_;
  counted_ = bytes;
}

int H2cSide::Produce() {
  while (!silent_ && out_.size() < kMostWaiting) {
    PartedRoom room(services_.buffers.scratch().room, kParts, false);
    if (!h2_.Produce(&room)) {
      silent_ = true;
      break;
    }
    if (room.length() == 0) break;
    const Pieces made = room.Whole();
    size_t taken = 0;
    if (out_.empty() && !end_->pulls() && end_->writable()) {
      const ssize_t now = end_->Write(made);
      if (now < 0) return static_cast<int>(-now);
      taken = static_cast<size_t>(now);
      written_ += taken;
    }
    for (int i = 0; i < made.count; i++) {
      const auto* const bytes = static_cast<const uint8_t*>(made.list[i].iov_base);
      const size_t skipped = std::min(taken, made.list[i].iov_len);
      taken -= skipped;
      out_.Append(bytes + skipped, made.list[i].iov_len - skipped);
    }
  }
  return 0;
}

ssize_t H2cSide::Pull(const Pieces& into, bool* more) {
  if (out_.empty()) return fin_ ? 0 : -EAGAIN;
  const bool was_full = out_.size() >= kMostWaiting;
  const size_t got = out_.Read(into);
  written_ += got;
  *more = !out_.empty() || fin_;
  if (was_full || fin_) user_.OnWork();
  return static_cast<ssize_t>(got);
}

void H2cSide::Farewell() {
  if (silent_ || !opened_) return;
  PartedRoom room(services_.buffers.scratch().room, kParts, false);
  h2_.Farewell(&room);
  const Pieces made = room.Whole();
  for (int i = 0; i < made.count; i++)
    out_.Append(static_cast<const uint8_t*>(made.list[i].iov_base), made.list[i].iov_len);
  silent_ = true;
  fin_ = true;
}

}  // namespace orlop
