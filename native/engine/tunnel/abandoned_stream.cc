// 10 · data thread · an abandoned CONNECT: it waits for the answer, and then resets the stream.
#include "engine/tunnel/abandoned_stream.h"

#include <cerrno>

#include "engine/http2/h2_session.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {

AbandonedStream::AbandonedStream(const EngineServices& services, Tunnel& tunnel, H2Stream& stream,
                                 uint64_t overdue_ms)
    : services_(services),
      tunnel_(tunnel),
      overdue_([](void* self) { static_cast<AbandonedStream*>(self)->tunnel_.Retire(); }, this) {
  tunnel_.session().Replace(&stream, this);
  services_.timers.Start(&overdue_, overdue_ms);
}

void AbandonedStream::OnField(std::string_view name, std::string_view value) {
  if (name == ":status") interim_ = !value.empty() && value.front() == '1';
}

void AbandonedStream::OnHead(bool) {
  if (interim_) return;
  session()->Reset(this, NGHTTP2_CONNECT_ERROR);
  tunnel_.OnAnswered();
  Gone();
}

// Behind an interim response, say. Nobody reads it.
void AbandonedStream::OnData(const uint8_t*, size_t length) {
  session()->Consumed(this, length);
}

ssize_t AbandonedStream::OnRead(const Pieces&) {
  return -EAGAIN;
}

void AbandonedStream::OnClosed(uint32_t code) {
  if (code == NGHTTP2_REFUSED_STREAM) tunnel_.OnRefused();
  Gone();
}

void AbandonedStream::Gone() {
  overdue_.Cancel();
  tunnel_.OnAbandonedGone();
  if (session()) session()->Forget(this);
  services_.turn.Bury(this);
}

}  // namespace orlop
