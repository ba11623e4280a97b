// data thread · one half of a request: its stream with the caller, or with the application, and the payload that came on it and waits
// to go on to the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/byte_queue.h"
#include "engine/h2c/h2c_fields.h"
#include "engine/http/mirror_copies.h"
#include "engine/http2/h2_stream.h"

namespace orlop {

class H2cHalf final : public H2Stream {
 public:
  // All is called from inside nghttp2, where no session may be deleted.
  class Owner {
   public:
    // The fields of a head are whole, and `fields()` has them until this returns.
    virtual void OnHead(H2cHalf& half, bool ends) = 0;
    // The same of trailers, which go on behind the payload.
    virtual void OnTrailers(H2cHalf& half) = 0;
    // They may not go on.
    virtual void OnBadTrailers(H2cHalf& half, Http1Refusal refusal) = 0;
    // Payload came, or has gone on.
    virtual void OnMoved() = 0;
    // Both halves of the stream are over: NO_ERROR, or why it was reset.
    virtual void OnClosed(H2cHalf& half, uint32_t code) = 0;
    // The connection has ended under the stream.
    virtual void OnLost(H2cHalf& half, CloseCause cause, int detail, std::string_view message) = 0;

   protected:
    ~Owner() = default;
  };

  // `other` is the other half.
  H2cHalf(ChunkPool& chunks, Owner& owner, H2cHalf& other);

  const H2cFields& fields() const { return fields_; }
  // The owner has taken the head: the next fields are trailers.
  void HeadTaken() { head_taken_ = true; }

  // Begins anew with another stream, after it has left its session.
  void Begin();
  // Keeps a copy of the payload that was sent on, up to `most` bytes and until trailers follow, for another try. 0: drops the copy.
  void KeepGone(size_t most);
  // Sends the kept payload once more, from its beginning. False: the copy is not whole.
  bool Rewind();
  bool may_rewind() const { return !trailed_ && gone_on_ == kept_.size(); }
  // Bytes of the heap for that.
  size_t kept() const { return kept_.capacity() + again_.capacity() - 2 * std::string().capacity(); }

  // What has come of the payload, and what still comes, goes there as well. It lives as long as this.
  void CopyTo(MirrorCopies& copies);

  // Sending. From each of these on, what came on the other half follows.
  // False: the session takes no more streams.
  bool Ask(H2Session& session, const std::vector<H2Field>& fields, bool ends);
  void Answer(const std::vector<H2Field>& fields, bool ends);
  void Inform(const std::vector<H2Field>& fields);
  // The peer is asked to stop behind our answer, also when that has gone already.
  void StopPeer();

  // In place of what came on this half: text of ours, and the end.
  void Feed(std::string_view text);
  // Behind what came on this half, which has left its session: trailers of ours, and the end.
  void EndWith(const std::vector<H2Field>& trailers);

  // What came on it goes nowhere, nor does what still comes.
  void DropPayload();
  // Leaves the session. A stream that is open is reset.
  void Leave(uint32_t code);

  // END_STREAM has come.
  bool ended() const { return ended_; }
  // And nothing of it is left to go on.
  bool drained() const { return ended_ && waiting() == 0 && fields_.count() == 0; }
  bool closed() const { return closed_; }
  // END_STREAM was sent.
  bool finished() const { return finished_; }
  size_t waiting() const { return in_.size() + again_.size() - again_at_; }
  // Bytes of payload that have gone on.
  uint64_t gone_on() const { return gone_on_; }

  // H2Stream.
  void OnField(std::string_view name, std::string_view value) override { fields_.Add(name, value); }
  void OnHead(bool ends) override;
  void OnData(const uint8_t* bytes, size_t length) override;
  void OnDataDone() override {}
  void OnEnd() override;
  ssize_t OnRead(const Pieces& into) override;
  void OnClosed(uint32_t code) override;
  void OnLost(CloseCause cause, int detail, std::string_view message) override;

 private:
  // There is something for this half's peer.
  void Go() {
    if (sends_ && session() != nullptr && !closed_) session()->Wake(this);
  }
  // What of it goes on now.
  ssize_t Give(const Pieces& into, H2cHalf& to);
  void Trail(H2cHalf& to);
  // The first `length` bytes of these have gone on.
  void Keep(const Pieces& gone, size_t length);
  size_t GiveAgain(const Pieces& into);

  Owner& owner_;
  H2cHalf& other_;
  H2cFields fields_;  // of the head that is coming, or trailers that wait behind the payload
  ByteQueue in_;
  uint64_t gone_on_ = 0;
  std::string kept_;      // of it, while the request may be tried again
  size_t most_kept_ = 0;  // 0: none is kept, or it is not whole any more
  MirrorCopies* copies_ = nullptr;
  std::string again_;     // in front of `in_`: its windows were given back before
  size_t again_at_ = 0;   // how much of it has gone
  bool trailed_ = false;  // trailers have gone on
  bool head_taken_ = false;
  bool drops_ = false;  // what still comes goes nowhere
  bool sends_ = false;
  bool ended_ = false;
  bool finished_ = false;
  bool closed_ = false;
};

}  // namespace orlop
