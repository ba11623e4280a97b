// 10, 11 · data thread · frames in and out through nghttp2. A peer that breaks a rule loses its tunnel,
// nobody else's.
#include "engine/http2/h2.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "engine/core/engine.h"
#include "engine/http2/h2_callbacks.h"
#include "engine/relay/connection.h"
#include "engine/tunnel/hbone_server.h"
#include "engine/tunnel/tunnel.h"

namespace orlop {
namespace {

constexpr uint32_t kStreamWindow = 4 << 20;
constexpr int32_t kConnectionWindow = 16 << 20;
// Kept for slow readers of one tunnel, 32 that take nothing; beyond it all of its streams wait for them.
constexpr size_t kKeptMost = 32 * kStreamWindow;
constexpr uint32_t kMaxFrame = 1 << 20;
constexpr uint32_t kClientStreams = 100;
constexpr uint32_t kServerStreams = 200;

nghttp2_nv Header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

H2Session::~H2Session() {
  nghttp2_session_del(session_);
}

bool H2Session::Open(Role role) {
  role_ = role;
  nghttp2_option* option = nullptr;
  if (nghttp2_option_new(&option) != 0) return false;
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, kClientStreams);
  nghttp2_option_set_max_continuations(option, 8);
  nghttp2_option_set_max_settings(option, 32);
  // Closed streams are not remembered: nobody's priority depends on them.
  nghttp2_option_set_no_closed_streams(option, 1);
  // Resets have their own budgets (budget.h), which tell a rapid reset from applications that come and go.
  nghttp2_option_set_stream_reset_rate_limit(option, 1'000'000, 1'000'000);
  const int error = role == Role::kServer
                        ? nghttp2_session_server_new2(&session_, H2Callbacks::Get(), this, option)
                        : nghttp2_session_client_new2(&session_, H2Callbacks::Get(), this, option);
  nghttp2_option_del(option);
  if (error != 0) return false;
  const bool server = role == Role::kServer;
  const std::array<nghttp2_settings_entry, 5> settings{{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server ? kServerStreams : 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kMaxFrame},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, server ? 65'536u : 16'384u},
  }};
  // A server may not announce ENABLE_PUSH (RFC 9113 6.5.2).
  const size_t skip = server ? 1 : 0;
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data() + skip,
                                 settings.size() - skip) == 0 &&
         nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
}

bool H2Session::Receive(const uint8_t* bytes, size_t length) {
  const ssize_t used = nghttp2_session_mem_recv(session_, bytes, length);
  FlushBatch();
  if (used < 0) {
    error_ = nghttp2_strerror(static_cast<int>(used));
    if (used == NGHTTP2_ERR_BAD_CLIENT_MAGIC) Violate("no HTTP/2 preface");
    if (used == NGHTTP2_ERR_FLOODED) Violate("flood");
    if (violation_.empty() && tunnel_.phase() != Tunnel::Phase::kEnded) Violate("malformed frames");
    return false;
  }
  return violation_.empty();
}

void H2Session::FlushBatch() {
  while (StreamEnd* stream = batch_first_) {
    batch_first_ = stream->next_in_batch;
    stream->in_batch = false;
    stream->connection->FlushStreamData();
  }
}

// Round robin: each stream that has bytes may send one frame, then all may again, until the buffer is full.
ssize_t H2Session::Produce() {
  plain_length_ = 0;
  while (true) {
    const size_t before = plain_length_;
    StreamEnd* stream = ready_first_;
    ready_first_ = ready_last_ = nullptr;
    turns_ = 0;
    while (stream) {
      turns_++;
      StreamEnd* next = stream->next;
      stream->next = nullptr;
      stream->queued = false;
      stream->turn = true;
      // Fails for a stream that nghttp2 already holds for its window: then that will wake it.
      nghttp2_session_resume_data(session_, stream->id);
      stream = next;
    }
    const int error = nghttp2_session_send(session_);
    if (error != 0) {
      error_ = nghttp2_strerror(error);
      return -1;
    }
    if (plain_length_ == before || ready_first_ == nullptr || plain_length_ + 4096 > Scratch::kPlainOut)
      break;
  }
  return static_cast<ssize_t>(plain_length_);
}

void H2Session::Attach(Connection* connection, int32_t id) {
  StreamEnd& stream = connection->stream;
  stream.id = id;
  stream.tunnel = &tunnel_;
  stream.position = static_cast<uint32_t>(connections_.size());
  connections_.push_back(connection);
  streams_++;
}

void H2Session::Forget(StreamEnd& stream) {
  if (stream.tunnel != &tunnel_) return;
  Unqueue(stream);
  nghttp2_session_set_stream_user_data(session_, stream.id, nullptr);
  connections_[stream.position] = connections_.back();
  connections_[stream.position]->stream.position = stream.position;
  connections_.pop_back();
  stream.tunnel = nullptr;
  streams_--;
  tunnel_.OnStreamGone();
}

void H2Session::Unqueue(StreamEnd& stream) {
  if (stream.queued) {
    StreamEnd* before = nullptr;
    StreamEnd** link = &ready_first_;
    while (*link != &stream) {
      before = *link;
      link = &before->next;
    }
    *link = stream.next;
    if (ready_last_ == &stream) ready_last_ = before;
    stream.queued = false;
    stream.next = nullptr;
  }
  if (stream.in_batch) {
    StreamEnd** link = &batch_first_;
    while (*link != &stream) link = &(*link)->next_in_batch;
    *link = stream.next_in_batch;
    stream.in_batch = false;
  }
}

void H2Session::Ready(StreamEnd& stream) {
  if (stream.queued || stream.tunnel != &tunnel_) return;
  stream.queued = true;
  stream.next = nullptr;
  (ready_last_ ? ready_last_->next : ready_first_) = &stream;
  ready_last_ = &stream;
}

bool H2Session::Connect(Connection* connection) {
  const ConnectText& text = *connection->text;
  std::array<nghttp2_nv, 5> headers{Header(":method", "CONNECT"), Header(":authority", text.authority)};
  size_t count = 2;
  if (!text.baggage.empty()) headers[count++] = Header("baggage", text.baggage);
  if (!text.forwarded.empty()) headers[count++] = Header("forwarded", text.forwarded);
  if (!text.traceparent.empty()) headers[count++] = Header("traceparent", text.traceparent);
  const int32_t id =
      nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, -1, nullptr, headers.data(), count, connection);
  if (id < 0) return false;
  Attach(connection, id);
  connection->text->baggage.clear();  // from here on: the response's
  tunnel_.MarkDirty();
  return true;
}

void H2Session::Respond(StreamEnd& stream, int status, std::string_view baggage) {
  const std::string code = std::to_string(status);
  const std::array<nghttp2_nv, 2> headers{Header(":status", code), Header("baggage", baggage)};
  const size_t count = baggage.empty() ? 1 : 2;
  if (status == 200) {
    stream.data_started = true;
    nghttp2_data_provider provider{{}, H2Callbacks::ReadData};
    nghttp2_submit_response(session_, stream.id, headers.data(), count, &provider);
  } else {
    nghttp2_submit_response(session_, stream.id, headers.data(), count, nullptr);
  }
  tunnel_.MarkDirty();
}

void H2Session::StartData(StreamEnd& stream) {
  stream.data_started = true;
  nghttp2_data_provider provider{{}, H2Callbacks::ReadData};
  nghttp2_submit_data(session_, NGHTTP2_FLAG_END_STREAM, stream.id, &provider);
}

void H2Session::Reset(StreamEnd& stream, uint32_t code) {
  if (stream.id < 0) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, code);
  tunnel_.MarkDirty();
}

void H2Session::Consumed(int32_t stream_id, size_t length) {
  nghttp2_session_consume(session_, stream_id, length);
  tunnel_.MarkDirty();
}

void H2Session::Kept(size_t length) {
  kept_ += length;
  if (kept_ > kKeptMost) {
    owed_ += length;
    return;
  }
  nghttp2_session_consume_connection(session_, length);
  tunnel_.MarkDirty();
}

void H2Session::ConsumedKept(int32_t stream_id, size_t length) {
  const size_t due = std::min(owed_, length);
  kept_ -= length;
  owed_ -= due;
  if (due > 0) nghttp2_session_consume_connection(session_, due);
  nghttp2_session_consume_stream(session_, stream_id, length);
  tunnel_.MarkDirty();
}

void H2Session::Ping() {
  ping_open_ = true;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  tunnel_.MarkDirty();
}

void H2Session::Goaway(uint32_t code) {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), code,
                        nullptr, 0);
  tunnel_.MarkDirty();
}

bool H2Session::WantsNothing() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

uint32_t H2Session::Room() const {
  if (goaway_ || !nghttp2_session_check_request_allowed(session_)) return 0;
  const uint32_t limit = std::min(
      kClientStreams, nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
  return limit > streams_ ? limit - streams_ : 0;
}

}  // namespace orlop
