// 10, 11 · data thread · from nghttp2's calls to streams; every limit that is counted per frame is counted here.
#include "engine/http2/h2_callbacks.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/http2/h2_session.h"

namespace orlop {
namespace {

constexpr size_t kFrameHeader = 9;
// A DATA frame that is made has this much room at least, or waits for the next buffer.
constexpr size_t kLeastRoom = 4096;
// Alone in a session a stream may fill a whole buffer; among others it sends shorter frames, so that theirs come sooner.
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
    nghttp2_session_callbacks_set_on_invalid_header_callback(made, InvalidHeader);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, FrameReceived);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(made, InvalidFrame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, DataChunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, StreamClosed);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, FrameSent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(made, FrameNotSent);
    return made;
  }();
  return table;
}

inline H2Stream* H2Callbacks::StreamOf(nghttp2_session* session, int32_t id) {
  auto* stream = static_cast<H2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  return stream && stream->session_ ? stream : nullptr;
}

// Receiving.

int H2Callbacks::BeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* user_data) {
  H2Session& self = Of(user_data);
  if (self.stopped_ || !self.violation_.empty()) return NGHTTP2_ERR_CALLBACK_FAILURE;
  Toll& toll = self.toll_;
  switch (header->type) {
    case NGHTTP2_DATA:
      if (header->length == 0 && !(header->flags & NGHTTP2_FLAG_END_STREAM))
        toll.Charge(&Budget::empty_data, "empty DATA flood");
      break;
    case NGHTTP2_HEADERS:
      break;
    case NGHTTP2_WINDOW_UPDATE:
      toll.Charge(&Budget::window_updates, "WINDOW_UPDATE flood");
      break;
    case NGHTTP2_PUSH_PROMISE:
      self.Violate("malformed frames",
                   NGHTTP2_PROTOCOL_ERROR);  // we announce ENABLE_PUSH 0, and a client may never push
      break;
    case NGHTTP2_RST_STREAM:
      break;  // counted when it is known which stream it meant
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
      if (!(header->flags & NGHTTP2_FLAG_ACK)) toll.Charge(&Budget::control, "PING or SETTINGS flood");
      break;
    default:
      toll.Charge(&Budget::control, "control frame flood");
  }
  return self.violation_.empty() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int H2Callbacks::BeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  H2Session& self = Of(user_data);
  if (self.options_->role != Role::kServer || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  self.toll_.CountRequest();
  H2Stream* stream = self.handler_.OnRequest();
  if (!stream && self.options_->passes_resets) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    return 0;
  }
  if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  self.Attach(stream, frame->hd.stream_id);
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
  return 0;
}

int H2Callbacks::Header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                        size_t name_length, const uint8_t* value, size_t value_length, uint8_t,
                        void* user_data) {
  H2Session& self = Of(user_data);
  H2Stream* stream = StreamOf(session, frame->hd.stream_id);
  const size_t length = name_length + value_length + 32;
  // What follows an answer, or is for a stream that has left: decoded, as HPACK demands, and dropped.
  if (!stream || !stream->takes_fields) {
    if (self.toll_.Pays(&Budget::stray_fields, static_cast<uint32_t>(length))) return 0;
    self.Violate("too many header bytes", NGHTTP2_ENHANCE_YOUR_CALM);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  stream->decoded_bytes_ += length;
  if (stream->decoded_bytes_ > std::max(self.options_->field_bytes, self.options_->field_bytes_read)) {
    self.Violate("too many header bytes", NGHTTP2_ENHANCE_YOUR_CALM);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  stream->OnField({reinterpret_cast<const char*>(name), name_length},
                  {reinterpret_cast<const char*>(value), value_length});
  return 0;
}

// Its block is still decoded, as HPACK demands.
int H2Callbacks::InvalidHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t*, size_t,
                               const uint8_t*, size_t, uint8_t, void*) {
  const H2Stream* stream = StreamOf(session, frame->hd.stream_id);
  return stream && stream->refuses_bad_fields ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

int H2Callbacks::FrameReceived(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  H2Session& self = Of(user_data);
  const int32_t id = frame->hd.stream_id;
  const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      if (H2Stream* stream = StreamOf(session, id)) stream->OnHead(end);
      [[fallthrough]];  // The head may have ended the stream, so it is looked up again.
    case NGHTTP2_DATA:
      if (!end) break;
      if (H2Stream* stream = StreamOf(session, id)) stream->OnEnd();
      break;
    case NGHTTP2_RST_STREAM: {
      // Of a stream that has left the session the peer could not know: its RST_STREAM crossed our answer or our own reset.
      const H2Stream* stream = StreamOf(session, id);
      if (stream && !stream->answered) {
        self.toll_.Charge(&Budget::early_resets, "rapid reset");
      } else {
        self.toll_.Charge(&Budget::resets, "reset flood");
      }
      break;
    }
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) &&
          memcmp(frame->ping.opaque_data, self.ping_, sizeof self.ping_) == 0)
        self.ping_open_ = false;
      break;
    case NGHTTP2_SETTINGS:
      if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) self.settings_fresh_ = self.settings_received_ = true;
      break;
    case NGHTTP2_GOAWAY:
      self.goaway_ = true;
      self.handler_.OnGoaway();
      break;
    default:
      break;
  }
  return 0;
}

int H2Callbacks::InvalidFrame(nghttp2_session*, const nghttp2_frame*, int error, void* user_data) {
  H2Session& self = Of(user_data);
  switch (error) {
    // A request that HTTP forbids costs its stream; it is paid from the budget of resets we are made to send.
    case NGHTTP2_ERR_HTTP_HEADER:
    case NGHTTP2_ERR_HTTP_MESSAGING:
    case NGHTTP2_ERR_STREAM_CLOSED:
    // More streams than we allow, from a peer that could not know yet.
    case NGHTTP2_ERR_REFUSED_STREAM:
      if (self.options_->passes_resets) self.toll_.Charge(&Budget::provoked_resets, "provoked resets");
      return 0;
    // Anything else is no HTTP/2 and costs the session.
    default:
      self.Violate("malformed frames", NGHTTP2_PROTOCOL_ERROR);
      self.error_ = nghttp2_strerror(error);
      return 0;
  }
}

int H2Callbacks::DataChunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t length,
                           void* user_data) {
  H2Session& self = Of(user_data);
  H2Stream* stream = StreamOf(session, id);
  if (!stream) {
    nghttp2_session_consume(session, id, length);
    self.handler_.OnOutput();
    return 0;
  }
  stream->OnData(bytes, length);
  if (stream->session_ && !stream->Hook<H2BatchTag>::linked()) self.batch_.PushBack(stream);
  return 0;
}

int H2Callbacks::StreamClosed(nghttp2_session* session, int32_t id, uint32_t code, void*) {
  H2Stream* stream = StreamOf(session, id);
  if (!stream) return 0;
  stream->OnClosed(stream->unsent_ ? static_cast<uint32_t>(NGHTTP2_REFUSED_STREAM) : code);
  return 0;
}

// Sending.

ssize_t H2Callbacks::Send(nghttp2_session*, const uint8_t* bytes, size_t length, int, void* user_data) {
  H2Session& self = Of(user_data);
  if (length > self.out_->left()) return NGHTTP2_ERR_WOULDBLOCK;
  self.out_->Put(bytes, length);
  return static_cast<ssize_t>(length);
}

ssize_t H2Callbacks::FrameLength(nghttp2_session*, uint8_t, int32_t, int32_t stream_window,
                                 int32_t session_window, uint32_t max_frame, void* user_data) {
  const H2Session& self = Of(user_data);
  const size_t most = self.turns_ > 1 ? kFrameShared : self.out_->capacity() - kFrameHeader;
  const auto window = static_cast<size_t>(std::max(1, std::min(stream_window, session_window)));
  return static_cast<ssize_t>(std::min({most, window, static_cast<size_t>(max_frame)}));
}

// The payload is read from the stream's owner to where it will be sealed; SendData puts the frame's header in front of it.
ssize_t H2Callbacks::ReadData(nghttp2_session* session, int32_t id, uint8_t*, size_t length, uint32_t* flags,
                              nghttp2_data_source*, void* user_data) {
  H2Session& self = Of(user_data);
  // Not from the source's pointer: the owner may have ended while its RST_STREAM waits behind this in nghttp2's queue.
  H2Stream* stream = StreamOf(session, id);
  if (!stream || !stream->turn_) return NGHTTP2_ERR_DEFERRED;
  // Full: nghttp2 keeps this frame for the next call.
  if (self.out_->left() < kFrameHeader + kLeastRoom) return NGHTTP2_ERR_PAUSE;
  stream->turn_ = false;
  const ssize_t got = stream->OnRead(self.out_->Ahead(kFrameHeader, length));
  if (got < 0) return NGHTTP2_ERR_DEFERRED;
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (got == 0) *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream->trailers_) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  return got;
}

int H2Callbacks::SendData(nghttp2_session*, nghttp2_frame*, const uint8_t* header, size_t length,
                          nghttp2_data_source*, void* user_data) {
  H2Session& self = Of(user_data);
  self.out_->Put(header, kFrameHeader);
  self.out_->Took(length);
  self.toll_.budget().window_updates.Give(length * 2);
  return 0;
}

int H2Callbacks::FrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  H2Session& self = Of(user_data);
  const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (ends && self.options_->role == Role::kServer) {
    // An answer is out. Nobody will read the peer's half, if that is still open. Not earlier:
    // nghttp2 drops what waits in its queue before a RST_STREAM.
    const int32_t id = frame->hd.stream_id;
    H2Stream* const stream = StreamOf(session, id);
    if (stream) stream->end_sent_ = true;
    const H2Stream::Stops stops = stream ? stream->stops_peer : H2Stream::Stops::kBehindHead;
    const bool due = stops == H2Stream::Stops::kAlways ||
                     (stops == H2Stream::Stops::kBehindHead && frame->hd.type == NGHTTP2_HEADERS);
    if (due && nghttp2_session_get_stream_remote_close(session, id) == 0) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    }
  }
  // nghttp2 gives the session up: what the peer sent was no HTTP/2, or too much of it.
  if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
      frame->goaway.error_code != self.goaway_code_) {
    const uint32_t code = frame->goaway.error_code;
    self.farewell_sent_ = true;
    self.Violate(code == NGHTTP2_ENHANCE_YOUR_CALM ? "flood" : "malformed frames", code);
  }
  if (frame->hd.type != NGHTTP2_RST_STREAM) return 0;
  const uint32_t code = frame->rst_stream.error_code;
  const bool ours =
      code == NGHTTP2_NO_ERROR || code == NGHTTP2_CONNECT_ERROR || code == NGHTTP2_REFUSED_STREAM;
  if (!ours && !self.options_->passes_resets) self.toll_.Charge(&Budget::provoked_resets, "provoked resets");
  return 0;
}

// A request that waited when the peer's GOAWAY came. StreamClosed follows.
int H2Callbacks::FrameNotSent(nghttp2_session* session, const nghttp2_frame* frame, int, void*) {
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  if (H2Stream* stream = StreamOf(session, frame->hd.stream_id)) stream->unsent_ = true;
  return 0;
}

}  // namespace orlop
