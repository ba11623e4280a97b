// 10, 11 · data thread · from nghttp2's calls to connections; every limit that is counted per frame is
// counted here.
#include "engine/h2_callbacks.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "engine/connection.h"
#include "engine/engine.h"
#include "engine/h2.h"
#include "engine/hbone_server.h"
#include "engine/tunnel.h"

namespace orlop {
namespace {

constexpr size_t kFrameHeader = 9;
// Alone in a tunnel a stream may fill a whole buffer; among others it sends shorter frames, so that they come
// sooner.
constexpr size_t kFrameAlone = Scratch::kPlainOut - 1024;
constexpr size_t kFrameShared = 64 * 1024;
// Decoded header bytes of one block, crumbs included, counted as RFC 9113 counts (32 more per field).
constexpr size_t kServerHeaderBytes = 65'536;
constexpr size_t kClientHeaderBytes = 16'384;

H2Session& Of(void* user_data) {
  return *static_cast<H2Session*>(user_data);
}

Connection* StreamOf(nghttp2_session* session, int32_t id) {
  return static_cast<Connection*>(nghttp2_session_get_stream_user_data(session, id));
}

// A response's headers belong to a stream we opened; a request's to one that BeginHeaders made.
void AppendMerged(std::string& to, std::string_view value) {
  if (!to.empty()) to += ',';
  to += value;
}

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

// --- receiving --------------------------------------------------------------------------------

int H2Callbacks::BeginFrame(nghttp2_session*, const nghttp2_frame_hd* header, void* user_data) {
  H2Session& self = Of(user_data);
  if (self.tunnel_.phase() == Tunnel::Phase::kEnded || !self.violation_.empty())
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  const uint64_t now = self.tunnel_.engine().now_ms();
  Budget& budget = self.budget_;
  switch (header->type) {
    case NGHTTP2_DATA:
      if (header->length == 0 && !(header->flags & NGHTTP2_FLAG_END_STREAM) && !budget.empty_data.Take(now)) {
        self.Violate("empty DATA flood");
      }
      break;
    case NGHTTP2_HEADERS:
      break;
    case NGHTTP2_WINDOW_UPDATE:
      if (!budget.window_updates.Take(now)) self.Violate("WINDOW_UPDATE flood");
      break;
    case NGHTTP2_PUSH_PROMISE:
      self.Violate("malformed frames");  // nobody may push in HBONE
      break;
    case NGHTTP2_RST_STREAM:
      break;  // counted when it is known which stream it meant
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
      if (!(header->flags & NGHTTP2_FLAG_ACK) && !budget.control.Take(now))
        self.Violate("PING or SETTINGS flood");
      break;
    default:
      if (!budget.control.Take(now)) self.Violate("control frame flood");
  }
  return self.violation_.empty() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int H2Callbacks::BeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  H2Session& self = Of(user_data);
  if (self.role_ != Role::kServer || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Connection* connection = NewServerStream(self.tunnel_);
  self.Attach(connection, frame->hd.stream_id);
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, connection);
  return 0;
}

int H2Callbacks::Header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                        size_t name_length, const uint8_t* value, size_t value_length, uint8_t,
                        void* user_data) {
  H2Session& self = Of(user_data);
  Connection* connection = StreamOf(session, frame->hd.stream_id);
  // Trailers and what follows an answer: decoded, as HPACK demands, and dropped; bounded by frame and
  // CONTINUATION limits.
  if (!connection || !connection->text) {
    self.stray_header_bytes_ += name_length + value_length + 32;
    if (self.stray_header_bytes_ > kServerHeaderBytes) self.Violate("too many header bytes");
    return self.violation_.empty() ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  ConnectText& text = *connection->text;
  text.decoded_bytes += name_length + value_length + 32;
  if (text.decoded_bytes > (self.role_ == Role::kServer ? kServerHeaderBytes : kClientHeaderBytes)) {
    self.Violate("too many header bytes");
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  const std::string_view key(reinterpret_cast<const char*>(name), name_length);
  const std::string_view content(reinterpret_cast<const char*>(value), value_length);
  if (key == "baggage") {
    AppendMerged(text.baggage, content);
  } else if (self.role_ == Role::kClient) {
    if (key == ":status" && value_length == 3) {
      text.status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    }
  } else if (key == ":method") {
    text.method = content;
  } else if (key == ":authority") {
    text.authority = content;
  } else if (key == ":scheme" || key == ":path" || key == ":protocol") {
    text.forbidden = true;
  } else if (key == "forwarded") {
    AppendMerged(text.forwarded, content);
  } else if (key == "traceparent") {
    text.traceparent = content;
  }
  return 0;
}

int H2Callbacks::FrameReceived(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  H2Session& self = Of(user_data);
  Connection* connection = frame->hd.stream_id > 0 ? StreamOf(session, frame->hd.stream_id) : nullptr;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS: {
      if (!connection) break;
      const bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
      if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        OnConnectRequest(self.tunnel_, connection, end);
      } else {
        // A 200 that ends at once is a connection whose far end has nothing to say; any other status ends it
        // anyway.
        if (connection->phase() == Connection::Phase::kWaitingResponse && connection->text &&
            connection->text->status >= 200) {
          connection->OnResponse();
        }
        connection = StreamOf(session, frame->hd.stream_id);
        if (end && connection) connection->OnStreamEnd();
      }
      break;
    }
    case NGHTTP2_DATA:
      if (connection && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) connection->OnStreamEnd();
      break;
    case NGHTTP2_RST_STREAM: {
      Budget& budget = self.budget_;
      const uint64_t now = self.tunnel_.engine().now_ms();
      const bool early = !connection || connection->phase() != Connection::Phase::kOpen;
      if (!(early ? budget.early_resets : budget.resets).Take(now))
        self.Violate(early ? "rapid reset" : "reset flood");
      break;
    }
    case NGHTTP2_PING:
      if (frame->hd.flags & NGHTTP2_FLAG_ACK) self.ping_open_ = false;
      break;
    case NGHTTP2_GOAWAY:
      self.goaway_ = true;
      self.tunnel_.Retire();
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
      return 0;
    // Anything else is no HTTP/2 and costs the tunnel.
    default:
      self.Violate("malformed frames");
      self.error_ = nghttp2_strerror(error);
      return 0;
  }
}

int H2Callbacks::DataChunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t length,
                           void* user_data) {
  H2Session& self = Of(user_data);
  Connection* connection = StreamOf(session, id);
  if (!connection) {
    self.Consumed(id, length);
    return 0;
  }
  if (connection->phase() != Connection::Phase::kOpen) {
    // Bytes before our 200 could be read as somebody's request after it (failures.md A11).
    self.Consumed(id, length);
    connection->Finish(CloseCause::kProtocolError, 0, "DATA before the CONNECT was answered");
    return 0;
  }
  connection->OnStreamData(bytes, length);
  StreamEnd& stream = connection->stream;
  if (!stream.in_batch && stream.tunnel) {
    stream.in_batch = true;
    stream.next_in_batch = self.batch_first_;
    self.batch_first_ = &stream;
  }
  return 0;
}

int H2Callbacks::StreamClosed(nghttp2_session* session, int32_t id, uint32_t code, void* user_data) {
  (void)user_data;
  Connection* connection = StreamOf(session, id);
  if (connection) connection->OnStreamClosed(code);
  return 0;
}

}  // namespace orlop
