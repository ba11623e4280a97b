// 10, 11 · data thread · frames in and out through nghttp2. A peer that breaks a rule loses its session, nobody else's.
#include "engine/http2/h2_session.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/http2/h2_callbacks.h"

namespace orlop {
namespace {

// A frame that is made has this much room at least, or waits for the next call.
constexpr size_t kLeastRoom = 4096;
// We push nothing, so the last stream of ours that a client's GOAWAY names means nothing, and grpc-go names its own last stream there, for
// which nghttp2 would end the session (grpc-go:internal/transport/http2_client.go, outgoingGoAwayHandler).
constexpr uint8_t kNoStream[4] = {};

// nghttp2 takes pointers to bytes that it does not change.
size_t ToNghttp2(const H2Field* fields, size_t count, nghttp2_nv* out) {
  count = std::min(count, H2Session::kMostFields);
  for (size_t i = 0; i < count; i++) {
    const auto [name, value] = fields[i];
    out[i] = {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
              reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
              NGHTTP2_NV_FLAG_NONE};
  }
  return count;
}

}  // namespace

H2Session::~H2Session() {
  nghttp2_session_del(session_);
}

bool H2Session::Open(const H2Options& options) {
  options_ = &options;
  nghttp2_option* option = nullptr;
  if (nghttp2_option_new(&option) != 0) return false;
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, options.client_streams);
  nghttp2_option_set_max_continuations(option, 8);
  nghttp2_option_set_max_settings(option, 32);
  // Closed streams are not remembered: nobody's priority depends on them.
  nghttp2_option_set_no_closed_streams(option, 1);
  // Resets have their own budgets (budget.h), which tell a rapid reset from applications that come and go.
  nghttp2_option_set_stream_reset_rate_limit(option, 1'000'000, 1'000'000);
  const bool server = options.role == Role::kServer;
  if (server) cutter_.ExpectPreface();
  const auto make = server ? nghttp2_session_server_new3 : nghttp2_session_client_new3;
  // Counting has its price for each frame, which a session without a bound does not pay.
  const int error =
      make(&session_, H2Callbacks::Get(), this, option, options.memory_most > 0 ? memory_.table() : nullptr);
  nghttp2_option_del(option);
  if (error != 0) return false;
  const std::array<nghttp2_settings_entry, 5> settings{{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server ? options.server_streams : 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
       options.unanswered_window > 0 ? options.unanswered_window : options.stream_window},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, options.max_frame},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options.field_bytes)},
  }};
  // A server may not announce ENABLE_PUSH (RFC 9113 6.5.2).
  const size_t skip = server ? 1 : 0;
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data() + skip,
                                 settings.size() - skip) == 0 &&
         nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, options.connection_window) ==
             0;
}

bool H2Session::Receive(const uint8_t* bytes, size_t length, size_t* used) {
  if (!Collect(bytes, length, used)) return false;
  Deliver();
  return violation_.empty();
}

bool H2Session::Collect(const uint8_t* bytes, size_t length, size_t* used) {
  *used = 0;
  ssize_t taken = 0;
  while (taken >= 0 && *used < length && violation_.empty() && !toll_.Stops()) {
    const FrameCutter::Cut cut = cutter_.Next(bytes + *used, length - *used, toll_.work_left());
    toll_.Work(cut.work);
    const bool empty = cut.last_stream && options_->role == Role::kServer;
    taken = nghttp2_session_mem_recv(session_, empty ? kNoStream : bytes + *used, cut.length);
    *used += cut.length;
  }
  if (taken >= 0 && violation_.empty()) return true;
  Deliver();
  if (taken < 0) {
    error_ = nghttp2_strerror(static_cast<int>(taken));
    if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) Violate("no HTTP/2 preface", NGHTTP2_PROTOCOL_ERROR);
    if (taken == NGHTTP2_ERR_FLOODED) Violate("flood", NGHTTP2_ENHANCE_YOUR_CALM);
    if (!stopped_) Violate("malformed frames", NGHTTP2_PROTOCOL_ERROR);
  }
  return false;
}

void H2Session::Deliver() {
  while (H2Stream* stream = batch_.PopFront()) stream->OnDataDone();
}

// Round robin: each stream that has bytes may send one frame, then all may again, until the buffer is full.
bool H2Session::Produce(PartedRoom* out) {
  out_ = out;
  while (true) {
    const size_t before = out->length();
    List<H2Stream, H2ReadyTag> now;
    now.TakeAll(&ready_);
    turns_ = 0;
    while (H2Stream* stream = now.PopFront()) {
      turns_++;
      stream->turn_ = true;
      // Fails for a stream that nghttp2 already holds for its window: then the window wakes it.
      nghttp2_session_resume_data(session_, stream->id_);
    }
    const int error = nghttp2_session_send(session_);
    if (error != 0) {
      error_ = nghttp2_strerror(error);
      return false;
    }
    if (out->length() == before || ready_.empty() || out->left() < kLeastRoom) return true;
  }
}

// Streams.

void H2Session::Attach(H2Stream* stream, int32_t id) {
  stream->session_ = this;
  stream->id_ = id;
  stream->turn_ = false;
  stream->unsent_ = stream->trailers_ = stream->end_sent_ = false;
  stream->decoded_bytes_ = 0;
  stream->position_ = static_cast<uint32_t>(streams_.size());
  streams_.push_back(stream);
}

void H2Session::Detach(H2Stream* stream) {
  stream->Hook<H2ReadyTag>::Remove();
  stream->Hook<H2BatchTag>::Remove();
  streams_[stream->position_] = streams_.back();
  streams_[stream->position_]->position_ = stream->position_;
  streams_.pop_back();
  stream->session_ = nullptr;
}

void H2Session::Forget(H2Stream* stream) {
  if (stream->session_ != this) return;
  nghttp2_session_set_stream_user_data(session_, stream->id_, nullptr);
  Detach(stream);
  handler_.OnStreamGone();
}

bool H2Session::Sent(const H2Stream* stream) const {
  return nghttp2_session_find_stream(session_, stream->id_) != nullptr;
}

void H2Session::Replace(H2Stream* stream, H2Stream* by) {
  nghttp2_session_set_stream_user_data(session_, stream->id_, by);
  const int32_t id = stream->id_;
  Detach(stream);
  Attach(by, id);
}

// A stream's OnLost may end others of this session.
void H2Session::LoseStreams(CloseCause cause, int detail, std::string_view message) {
  stopped_ = true;
  while (!streams_.empty()) {
    H2Stream* stream = streams_.back();
    Detach(stream);
    stream->OnLost(cause, detail, message);
  }
}

bool H2Session::Request(H2Stream* stream, const H2Field* fields, size_t count, Body body) {
  nghttp2_nv head[kMostFields];
  count = ToNghttp2(fields, count, head);
  const nghttp2_data_provider provider{{}, H2Callbacks::ReadData};
  const int32_t id =
      body == Body::kLater
          ? nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, -1, nullptr, head, count, stream)
          : nghttp2_submit_request(session_, nullptr, head, count, body == Body::kNow ? &provider : nullptr,
                                   stream);
  if (id < 0) return false;
  Attach(stream, id);
  handler_.OnOutput();
  return true;
}

void H2Session::Inform(H2Stream* stream, const H2Field* fields, size_t count) {
  if (crowded()) return;
  nghttp2_nv head[kMostFields];
  count = ToNghttp2(fields, count, head);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream->id_, nullptr, head, count, nullptr);
  handler_.OnOutput();
}

void H2Session::Trail(H2Stream* stream, const H2Field* fields, size_t count) {
  nghttp2_nv block[kMostFields];
  count = ToNghttp2(fields, count, block);
  stream->trailers_ = nghttp2_submit_trailer(session_, stream->id_, block, count) == 0;
}

void H2Session::Respond(H2Stream* stream, const H2Field* fields, size_t count, bool data) {
  nghttp2_nv head[kMostFields];
  count = ToNghttp2(fields, count, head);
  const nghttp2_data_provider provider{{}, H2Callbacks::ReadData};
  nghttp2_submit_response(session_, stream->id_, head, count, data ? &provider : nullptr);
  if (data && options_->unanswered_window > 0) {
    const auto window = static_cast<int32_t>(options_->stream_window);
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, stream->id_, window);
  }
  handler_.OnOutput();
}

void H2Session::StartData(H2Stream* stream) {
  const nghttp2_data_provider provider{{}, H2Callbacks::ReadData};
  nghttp2_submit_data(session_, NGHTTP2_FLAG_END_STREAM, stream->id_, &provider);
}

void H2Session::Ready(H2Stream* stream) {
  if (stream->Hook<H2ReadyTag>::linked() || stream->session_ != this) return;
  ready_.PushBack(stream);
}

void H2Session::Wake(H2Stream* stream) {
  Ready(stream);
  handler_.OnOutput();
}

void H2Session::Reset(H2Stream* stream, uint32_t code) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id_, code);
  handler_.OnOutput();
}

void H2Session::Consumed(H2Stream* stream, size_t length) {
  nghttp2_session_consume(session_, stream->id_, length);
  handler_.OnOutput();
}

void H2Session::Kept(size_t length) {
  kept_ += length;
  if (kept_ > options_->kept_most) {
    owed_ += length;
    return;
  }
  nghttp2_session_consume_connection(session_, length);
  handler_.OnOutput();
}

void H2Session::ConsumedKept(H2Stream* stream, size_t length) {
  const size_t due = std::min(owed_, length);
  kept_ -= length;
  owed_ -= due;
  if (due > 0) nghttp2_session_consume_connection(session_, due);
  nghttp2_session_consume_stream(session_, stream->id_, length);
  handler_.OnOutput();
}

// The session.

void H2Session::Ping() {
  ping_open_ = true;
  if (getrandom(ping_, sizeof ping_, 0) != sizeof ping_) memset(ping_, 0, sizeof ping_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, ping_);
  handler_.OnOutput();
}

void H2Session::Goaway(uint32_t code) {
  goaway_code_ = code;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_), code,
                        nullptr, 0);
  handler_.OnOutput();
}

// nghttp2 has its own GOAWAY in the queue where it found the violation itself; then this one changes nothing. What waits in front of it
// goes out as well. Payload does not: no stream has its turn.
void H2Session::Farewell(PartedRoom* out) {
  nghttp2_session_terminate_session(session_, violation_code_);
  out_ = out;
  if (!farewell_sent_) nghttp2_session_send(session_);
}

bool H2Session::WantsNothing() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

uint32_t H2Session::Limit() const {
  if (goaway_ || !nghttp2_session_check_request_allowed(session_)) return 0;
  if (!settings_received_) return 1;
  return std::min(options_->client_streams,
                  nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
}

bool H2Session::AllowsNone() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 0;
}

void H2Session::RefuseUnsent() {
  std::vector<H2Stream*> unsent;
  if (streams() <= Limit()) return;
  for (H2Stream* stream : streams_) {
    if (!Sent(stream)) unsent.push_back(stream);
  }
  for (H2Stream* stream : unsent) {
    Reset(stream, NGHTTP2_CANCEL);
    stream->OnClosed(NGHTTP2_REFUSED_STREAM);
  }
}

}  // namespace orlop
