// fuzz · an end in memory: the third kind, which nothing in the engine was written for.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "far_end.h"

namespace orlop::contracts {
namespace {

class MemoryEnd final : public FarEnd, public ByteEnd {
 public:
  explicit MemoryEnd(size_t room) : room_(room) {}

  // FarEnd.
  ByteEnd& Near(ByteEnd::User& user) override {
    user_ = &user;
    return *this;
  }
  size_t Say(const char* bytes, size_t length) override {
    const size_t said = closed_ ? 0 : std::min(length, room_ - std::min(room_, in_.size()));
    in_.append(bytes, said);
    if (said > 0) user_->OnReady(*this);
    return said;
  }
  void SayEnd() override {
    end_said_ = true;
    if (!closed_) user_->OnReady(*this);
  }
  void Reset() override {
    if (closed_) return;
    closed_ = true;
    user_->OnReset(*this, ECONNRESET);
  }
  void Hear(size_t most) override {
    const size_t part = std::min(most, out_.size());
    heard_.append(out_, 0, part);
    out_.erase(0, part);
    if (out_.empty() && shut_) heard_end_ = true;
    if (part > 0 && !closed_) user_->OnReady(*this);
  }
  void CloseNear(bool reset) override {
    closed_ = true;
    was_reset_ = reset;
  }

  // ByteEnd.
  int Front(Pieces* pieces) override {
    if (in_.empty()) return 0;
    front_ = {in_.data(), in_.size()};
    *pieces = {&front_, 1, in_.size()};
    return 1;
  }
  void Drop(size_t length) override { in_.erase(0, length); }
  ssize_t Read(const Pieces& into) override {
    if (in_.empty()) return end_said_ ? 0 : -EAGAIN;
    const iovec all{in_.data(), in_.size()};
    const size_t part = CopyPieces({&all, 1, in_.size()}, into);
    in_.erase(0, part);
    return static_cast<ssize_t>(part);
  }
  bool readable() const override { return !in_.empty() || end_said_; }
  bool ended() const override { return end_said_ && in_.empty(); }
  bool pulls() const override { return false; }
  ssize_t Write(const Pieces& pieces) override {
    size_t taken = 0;
    for (int i = 0; i < pieces.count; i++) {
      const size_t part = std::min(pieces.list[i].iov_len, room_ - out_.size());
      out_.append(static_cast<const char*>(pieces.list[i].iov_base), part);
      taken += part;
    }
    return static_cast<ssize_t>(taken);
  }
  void Wake() override {}
  bool writable() const override { return out_.size() < room_; }
  void ShutWrite() override { shut_ = true; }
  bool shut() const override { return shut_; }
  size_t buffered() const override { return 0; }

 private:
  const size_t room_;
  ByteEnd::User* user_ = nullptr;
  std::string in_;
  std::string out_;
  iovec front_{};
  bool end_said_ = false;
  bool shut_ = false;
  bool closed_ = false;
};

}  // namespace

std::unique_ptr<FarEnd> MakeMemoryEnd(Random& random) {
  return std::make_unique<MemoryEnd>(1 + Below(random, 100'000));
}

}  // namespace orlop::contracts
