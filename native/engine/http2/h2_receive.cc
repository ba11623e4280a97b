// 10, 11 · data thread · from nghttp2's calls to connections; every limit that is counted per frame is
// counted here.
#include <string>
#include <string_view>

#include "engine/core/engine.h"
#include "engine/http2/h2.h"
#include "engine/http2/h2_callbacks.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

// Decoded header bytes of one block, crumbs included, counted as RFC 9113 counts (32 more per field).
constexpr size_t kServerHeaderBytes = 65'536;
constexpr size_t kClientHeaderBytes = 16'384;

// Repeated headers are one list.
void AppendMerged(std::string& to, std::string_view value) {
  if (!to.empty()) to += ',';
  to += value;
}

}  // namespace

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
    // Bytes before our 200 could be read as somebody's request after it (docs/reference/failures.md, row A11).
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
