// 16 · data thread · one side of a connection that is read: messages into its queue, and the queue into its end.
#include "engine/http/http1_side.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "engine/core/scratch.h"

namespace orlop {
namespace {

// More than heads of usual size need.
constexpr size_t kRoom = 8 * 1024;
// What a reply has beside its fields and its body.
constexpr size_t kReplyRoom = 256;

// What `write` puts into room of this size, appended but for its first `skip` bytes. False: it wrote nothing.
template <typename Write>
bool Append(ByteQueue* out, size_t skip, size_t room, Write write) {
  uint8_t near[kRoom];
  std::unique_ptr<uint8_t[]> far;
  if (room > sizeof near) far.reset(new uint8_t[room]);
  uint8_t* const to = far ? far.get() : near;
  const size_t used = write(to, room);
  if (used == 0) return false;
  out->Append(to + skip, used - skip);
  return true;
}

}  // namespace

bool Http1Side::WriteHead(const uint8_t* bytes, size_t length, const Http1Head& head, const Http1Edit& edit) {
  framing_ = edit.framing;
  const auto write = head.status == 0 ? WriteRequestHead : WriteResponseHead;
  const bool written = Append(&out_, ahead_, Http1HeadRoom(length, edit),
                              [&](uint8_t* to, size_t room) { return write(bytes, head, edit, to, room); });
  if (written) ahead_ = 0;
  return written;
}

void Http1Side::WritePayload(const uint8_t* bytes, size_t length) {
  payload_ += length;
  if (framing_ != Http1Framing::kChunked) return WriteBody(bytes, length);
  uint8_t line[kHttp1ChunkLineRoom];
  WriteBody(line, WriteChunkLine(length, line));
  WriteBody(bytes, length);
  WriteBody(reinterpret_cast<const uint8_t*>(kHttp1ChunkEnd.data()), kHttp1ChunkEnd.size());
}

void Http1Side::WriteBody(const uint8_t* bytes, size_t length) {
  out_.Append(bytes, length);
  Keep(bytes, length);
}

void Http1Side::Keep(const uint8_t* bytes, size_t length) {
  if (most_kept_ == 0) return;
  if (kept_.size() + length > most_kept_) return ForgetKept();
  kept_.append(reinterpret_cast<const char*>(bytes), length);
}

void Http1Side::KeepBody(size_t most) {
  kept_.clear();
  most_kept_ = most;
}

bool Http1Side::TakeKept(std::string* body) {
  const bool whole = most_kept_ > 0;
  *body = std::move(kept_);
  ForgetKept();
  return whole;
}

void Http1Side::ForgetKept() {
  std::string().swap(kept_);
  most_kept_ = 0;
}

void Http1Side::WriteEnd(const uint8_t* section, const Http1TrailerSection& trailers) {
  if (framing_ != Http1Framing::kChunked) return;
  Append(&out_, 0, kHttp1LastChunkRoom, [&](uint8_t* to, size_t room) {
    const size_t used = WriteLastChunk(section, &trailers, to, room);
    Keep(to, used);
    return used;
  });
}

void Http1Side::WriteLastChunkLine() {
  if (framing_ == Http1Framing::kChunked) WriteRaw("0\r\n");
}

void Http1Side::WriteReply(const Http1Reply& reply) {
  size_t room = kReplyRoom + reply.body.size();
  for (size_t i = 0; i < reply.pair_count; i++)
    room += reply.pairs[i].name.size() + reply.pairs[i].value.size() + 4;
  Append(&out_, std::exchange(ahead_, 0), room,
         [&](uint8_t* to, size_t most) { return orlop::WriteReply(reply, to, most); });
}

bool Http1Side::WriteAhead() {
  if (ahead_ == kHttp1ResponseStart.size()) return false;
  WriteRaw(kHttp1ResponseStart.substr(ahead_++, 1));
  return true;
}

void Http1Side::WriteRaw(std::string_view text) {
  out_.Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string Http1Side::Waiting() const {
  std::string text;
  iovec list[Scratch::kPieces];
  const int count = out_.Front(list, Scratch::kPieces);
  for (int i = 0; i < count; i++) text.append(static_cast<const char*>(list[i].iov_base), list[i].iov_len);
  return text;
}

std::string Http1Side::TakeWaiting() {
  std::string text(out_.size(), '\0');
  const iovec room{text.data(), text.size()};
  out_.Read({&room, 1, text.size()});
  return text;
}

void Http1Side::Clear() {
  out_.Clear();
  ForgetKept();
  ForgetHeld();
}

int Http1Side::Flush() {
  if (end->pulls()) {
    if (!out_.empty() || fin_) end->Wake();
    return 0;
  }
  while (!out_.empty() && end->writable()) {
    iovec list[Scratch::kPieces];
    Pieces pieces{list, out_.Front(list, Scratch::kPieces), 0};
    for (int i = 0; i < pieces.count; i++) pieces.bytes += list[i].iov_len;
    const ssize_t taken = end->Write(pieces);
    if (taken < 0) return static_cast<int>(-taken);
    if (taken == 0) return 0;
    out_.Drop(static_cast<size_t>(taken));
    written_ += static_cast<uint64_t>(taken);
  }
  if (out_.empty() && fin_) end->ShutWrite();
  return 0;
}

ssize_t Http1Side::Pull(const Pieces& into, bool* more) {
  if (out_.empty()) return fin_ ? 0 : -EAGAIN;
  const size_t got = out_.Read(into);
  written_ += got;
  *more = !out_.empty() || fin_;
  return static_cast<ssize_t>(got);
}

}  // namespace orlop
