// 10, 11 · data thread · from nghttp2's calls to connections; every limit that is counted per frame is
// counted here.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/core/engine.h"
#include "engine/http2/h2.h"
#include "engine/http2/h2_callbacks.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

constexpr size_t kFrameHeader = 9;
// Alone in a tunnel a stream may fill a whole buffer; among others it sends shorter frames, so that they come
// sooner.
constexpr size_t kFrameAlone = Scratch::kPlainOut - 1024;
constexpr size_t kFrameShared = 64 * 1024;

}  // namespace

const nghttp2_session_callbacks* H2Callbacks::Get() {
  static const nghttp2_session_callbacks* const table = [] {
    nghttp2_session_callbacks* made = nullptr;
    if (nghttp2_session_callbacks_new(&made) != 0) return static_cast<nghttp2_session_callbacks*>(nullptr);
    nghttp2_session_callbacks_set_send_callback(made, Send);
    nghttp2_session_callbacks_set_send_data_callback(made, SendData);
    nghttp2_session_callbacks_set_data_source_read_length_callback(made, FrameLength);
    nghttp2_session_callbacks_set_on_begin_frame_callback(made, BeginFrame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, BeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(made, Header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, FrameReceived);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, InvalidFrame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, DataChunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, StreamClosed);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, FrameSent);
    return made;
  }();
  return table;
}

// --- sending ----------------------------------------------------------------------------------

ssize_t H2Callbacks::Send(nghttp2_session*, const uint8_t* bytes, size_t length, int, void* user_data) {
  H2Session& self = Of(user_data);
  if (self.plain_length_ + length > Scratch::kPlainOut) return NGHTTP2_ERR_WOULDBLOCK;
  memcpy(self.tunnel_.engine().scratch().plain_out + self.plain_length_, bytes, length);
  self.plain_length_ += length;
  return static_cast<ssize_t>(length);
}

ssize_t H2Callbacks::FrameLength(nghttp2_session*, uint8_t, int32_t, int32_t stream_window,
                                 int32_t session_window, uint32_t max_frame, void* user_data) {
  const size_t most = Of(user_data).turns_ > 1 ? kFrameShared : kFrameAlone;
  const auto window = static_cast<size_t>(std::max(1, std::min(stream_window, session_window)));
  return static_cast<ssize_t>(std::min({most, window, static_cast<size_t>(max_frame)}));
}

// The payload is read from the application's socket to where it will be sealed; SendData puts the header in
// front.
ssize_t H2Callbacks::ReadData(nghttp2_session* session, int32_t id, uint8_t*, size_t length, uint32_t* flags,
                              nghttp2_data_source*, void* user_data) {
  H2Session& self = Of(user_data);
  // Not from the source's pointer: the connection may have ended, and its RST_STREAM stand behind this in the
  // queue.
  Connection* connection = StreamOf(session, id);
  if (!connection) return NGHTTP2_ERR_DEFERRED;
  StreamEnd& stream = connection->stream;
  if (!stream.turn) return NGHTTP2_ERR_DEFERRED;
  const size_t used = self.plain_length_ + kFrameHeader;
  // Full: nghttp2 keeps this frame for the next call.
  if (used + 4096 > Scratch::kPlainOut) return NGHTTP2_ERR_PAUSE;
  Engine& engine = self.tunnel_.engine();
  const ssize_t got = connection->ReadForStream(engine.scratch().plain_out + used,
                                                std::min(length, Scratch::kPlainOut - used));
  stream.turn = false;
  if (got > 0) {
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    connection->QueueIfReadable();
    return got;
  }
  if (got == 0) {
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY | NGHTTP2_DATA_FLAG_EOF;
    return 0;
  }
  // A broken socket is dealt with outside nghttp2.
  if (got != -EAGAIN) engine.Again(connection);
  return NGHTTP2_ERR_DEFERRED;
}

int H2Callbacks::SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* header, size_t length,
                          nghttp2_data_source*, void* user_data) {
  H2Session& self = Of(user_data);
  memcpy(self.tunnel_.engine().scratch().plain_out + self.plain_length_, header, kFrameHeader);
  self.plain_length_ += kFrameHeader + length;
  return 0;
}

int H2Callbacks::FrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  H2Session& self = Of(user_data);
  if (frame->hd.type == NGHTTP2_HEADERS && self.role_ == Role::kServer &&
      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
    // A refusal is out. The peer's half is still open, and nobody will read it. Not earlier: nghttp2 drops
    // what stands before a RST_STREAM in its queue.
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  }
  // nghttp2 gives the session up: whatever the peer sent was no HTTP/2, or too much of it.
  if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
    self.Violate(frame->goaway.error_code == NGHTTP2_ENHANCE_YOUR_CALM ? "flood" : "malformed frames");
  }
  if (frame->hd.type != NGHTTP2_RST_STREAM) return 0;
  const uint32_t code = frame->rst_stream.error_code;
  const bool ours =
      code == NGHTTP2_NO_ERROR || code == NGHTTP2_CONNECT_ERROR || code == NGHTTP2_REFUSED_STREAM;
  if (!ours && !self.budget_.provoked_resets.Take(self.tunnel_.engine().now_ms()))
    self.Violate("provoked resets");
  return 0;
}

}  // namespace orlop
