// 16 · data thread · a connection that is read: heads to TypeScript, bodies past it.
#include "engine/http/http1_session.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "engine/core/answer.h"
#include "engine/http/http1_head_copy.h"
#include "engine/http/http1_start.h"
#include "engine/http/request_event.h"

namespace orlop {
namespace {

constexpr int kReadsPerTurn = 4;
// Bytes that wait for an end that is slower than the other.
constexpr size_t kMostWaiting = 64 * 1024;
// From the first byte of a head to its last.
constexpr uint64_t kHeadMs = 5'000;
// TypeScript itself waits less.
constexpr uint64_t kAnswerMs = 6'000;
// A body in which nothing moves, although one side could.
constexpr uint64_t kStalledMs = 300'000;
constexpr uint64_t kAfterErrorMs = 1'000;
constexpr uint64_t kLingerMs = 2'000;
constexpr uint64_t kLingerBytes = 1 << 20;
// Of a request that was refused: taken, so that the connection can go on.
constexpr uint64_t kDrainedBytes = 64 * 1024;

const uint8_t* BytesOf(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

void Append(ByteQueue* out, std::string_view text) {
  out->Append(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string_view ReasonOf(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 408:
      return "Request Timeout";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

RequestOutcome OutcomeOf(CloseCause cause) {
  switch (cause) {
    case CloseCause::kResetByDownstream:
    case CloseCause::kTunnelLost:
      return RequestOutcome::kResetByDownstream;
    case CloseCause::kResetByUpstream:
      return RequestOutcome::kResetByUpstream;
    case CloseCause::kHttpTimeout:
      return RequestOutcome::kTimeout;
    default:
      return RequestOutcome::kCut;
  }
}

}  // namespace

Http1Session::Http1Session(const EngineServices& services, User& user, HttpReading reading)
    : services_(services),
      user_(user),
      reading_(reading),
      to_up_(services.buffers.chunks),
      to_down_(services.buffers.chunks),
      deadline_([](void* self) { static_cast<Http1Session*>(self)->OnDeadline(); }, this) {}

void Http1Session::Start(ByteEnd& down, ByteEnd& up, SlotRef ref, uint32_t pod_idx) {
  down_ = &down;
  up_ = &up;
  ref_ = ref;
  pod_idx_ = pod_idx;
  running_ = true;
}

void Http1Session::Stop(CloseCause cause) {
  running_ = false;
  deadline_.Cancel();
  Turn::Task::Remove();
  EndRequest(OutcomeOf(cause));
  upgraded_ = false;
  to_up_.Clear();
  to_down_.Clear();
  held_.clear();
  held_response_.clear();
  facts_.clear();
  ForgetBodies();
  CountHeads();
}

void Http1Session::End(CloseCause cause, int detail) {
  if (!running_) return;
  running_ = false;
  user_.OnSessionEnded(cause, detail);
}

size_t Http1Session::buffered() const {
  return to_up_.size() + to_down_.size() + counted_;
}

void Http1Session::CountHeads() {
  const size_t now = held_.size() + held_response_.size() + facts_.size() + request_body_.buffered() +
                     response_body_.buffered();
  services_.buffers.heads += now - counted_;
  counted_ = now;
}

// Bytes in.

void Http1Session::OnReady(ByteEnd& end) {
  if (!running_) return;
  // Both halves of the caller's stream are over, and not by us: nobody waits for an answer.
  if (&end == down_ && end.pulls() && end.shut() && !fin_down_)
    return End(open_ ? CloseCause::kResetByDownstream : CloseCause::kFinished);
  Pump();
  if (!running_ || !end.failing()) return;
  if (&end == down_) return End(CloseCause::kResetByDownstream, ECONNRESET);
  if (failing_) return;
  failing_ = true;
  Deadline(kAfterErrorMs);
}

void Http1Session::OnReset(ByteEnd& end, int code) {
  End(&end == down_ ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream, code);
}

void Http1Session::Pump() {
  if (!running_ || pumping_) return;
  pumping_ = true;
  Read(*down_, true);
  if (running_) Read(*up_, false);
  if (running_) Flush();
  pumping_ = false;
  CountHeads();
  // What was read before there was room, or before it was its turn, is announced by nothing else.
  const bool more =
      running_ && ((WantsMore(true) && down_->readable()) || (WantsMore(false) && up_->readable()));
  if (more) services_.turn.Again(this);
  if (running_) PassIfFlushed();
}

bool Http1Session::WantsMore(bool from_down) const {
  if (opaque_) return false;
  if (!from_down) {
    if (fin_down_ || to_down_.size() >= kMostWaiting) return false;
    return response_ != Response::kDone;
  }
  if (lingers_) return true;
  if (fin_up_ || to_up_.size() >= kMostWaiting) return false;
  return request_ == Request::kHead || request_ == Request::kBody || request_ == Request::kDraining;
}

void Http1Session::Read(ByteEnd& from, bool from_down) {
  for (int reads = 0; reads < kReadsPerTurn; reads++) {
    if (!WantsMore(from_down)) return;
    Pieces pieces;
    const int found = from.Front(&pieces);
    if (found < 0) {
      End(from_down ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream, -found);
      return;
    }
    if (found == 0) {
      if (from.ended()) OnEnd(from_down);
      return;
    }
    size_t taken = 0;
    bool stop = false;
    for (int i = 0; i < pieces.count && !stop; i++) {
      const auto* const bytes = static_cast<const uint8_t*>(pieces.list[i].iov_base);
      const size_t length = pieces.list[i].iov_len;
      size_t at = 0;
      while (at < length && !stop) {
        at += from_down ? TakeRequest(bytes + at, length - at, &stop)
                        : TakeResponse(bytes + at, length - at, &stop);
        if (!running_) return;
        stop = stop || !WantsMore(from_down);
      }
      taken += at;
    }
    from.Drop(taken);
  }
}

size_t Http1Session::TakeHead(std::string* held, size_t* scanned, const uint8_t* bytes, size_t length,
                              size_t* taken) {
  const size_t before = held->size();
  // One byte more than a head may have says that it is too large.
  held->append(reinterpret_cast<const char*>(bytes), std::min(length, kHttp1HeadBytes + 1 - before));
  *taken = held->size() - before;
  const size_t end = Http1HeadEnd(BytesOf(*held), held->size(), *scanned);
  *scanned = held->size();
  if (end == 0) return 0;
  *taken = end - before;
  held->resize(end);
  return end;
}

size_t Http1Session::TakeRequest(const uint8_t* bytes, size_t length, bool* stop) {
  if (lingers_) {
    discarded_ += length;
    if (discarded_ > kLingerBytes) End(CloseCause::kFinished);
    return length;
  }
  if (request_ == Request::kHead) {
    if (held_.empty()) {
      began_us_ = services_.clock.now_us();
      Deadline(kHeadMs);
    }
    size_t taken = 0;
    const size_t end = TakeHead(&held_, &scanned_, bytes, length, &taken);
    if (number_ == 0) {
      const Http1Start start = Http1StartOf(BytesOf(held_), held_.size());
      if (start == Http1Start::kHttp2 || start == Http1Start::kOther) {
        OnOther(start == Http1Start::kHttp2 ? CloseCause::kHttp2NotRead : CloseCause::kNotHttp);
        *stop = true;
        return taken;
      }
    }
    if (end > 0) {
      OnRequestHead(end);
    } else if (held_.size() > kHttp1HeadBytes) {
      number_++;
      Refuse(Http1Refusal::kHeadTooLarge);
    }
    return taken;
  }
  Http1Refusal refusal;
  const bool forwarded = request_ == Request::kBody;
  const size_t taken = request_body_.Take(bytes, length, forwarded ? &to_up_ : nullptr, &refusal);
  if (refusal != Http1Refusal::kNone) {
    EndRequest(RequestOutcome::kRefused, static_cast<int>(refusal));
    // The application has a part of it: a reset says that the rest never comes.
    if (forwarded)
      End(CloseCause::kHttpRefused, static_cast<int>(refusal));
    else
      Linger();
    return taken;
  }
  if (request_body_.done()) {
    request_ = Request::kDone;
    NextIfDone();
  }
  return taken;
}

size_t Http1Session::TakeResponse(const uint8_t* bytes, size_t length, bool* stop) {
  if (response_ == Response::kNone) {
    *stop = true;
    const bool watched = reading_ == HttpReading::kOrPass && request_ == Request::kHead;
    if (number_ == 0 || watched)
      OnOther(CloseCause::kNotHttp);
    else
      End(CloseCause::kResetByUpstream);  // bytes that answer nothing
    return 0;
  }
  if (response_ == Response::kHead) {
    if (held_response_.empty()) Deadline(kHeadMs);
    size_t taken = 0;
    const size_t end = TakeHead(&held_response_, &scanned_response_, bytes, length, &taken);
    if (end > 0)
      OnResponseHead(end);
    else if (held_response_.size() > kHttp1HeadBytes)
      BadResponse(Http1Refusal::kHeadTooLarge);
    return taken;
  }
  Http1Refusal refusal;
  const size_t taken = response_body_.Take(bytes, length, &to_down_, &refusal);
  if (refusal != Http1Refusal::kNone) {
    EndRequest(RequestOutcome::kBadResponse, static_cast<int>(refusal));
    End(CloseCause::kHttpRefused, static_cast<int>(refusal));
    return taken;
  }
  if (response_body_.done()) {
    response_ = Response::kDone;
    NextIfDone();
  }
  return taken;
}

void Http1Session::OnEnd(bool from_down) {
  if (from_down) {
    if (lingers_) {
      lingers_ = false;
      return;
    }
    if (request_ != Request::kHead || !held_.empty()) return End(CloseCause::kResetByDownstream);
    fin_up_ = true;
    return;
  }
  switch (response_) {
    case Response::kNone:
      if (request_ != Request::kHead || !held_.empty()) return End(CloseCause::kResetByUpstream);
      return Close();
    case Response::kBody:
      if (!response_body_.TakeEnd()) return End(CloseCause::kResetByUpstream);
      response_ = Response::kDone;
      return NextIfDone();
    case Response::kHead:
    case Response::kDone:
      return End(CloseCause::kResetByUpstream);
  }
}

void Http1Session::OnOther(CloseCause cause) {
  reading_ == HttpReading::kOrPass ? Pass() : End(cause);
}

void Http1Session::Pass() {
  deadline_.Cancel();
  Append(&to_up_, held_);
  Append(&to_down_, held_response_);
  held_.clear();
  held_response_.clear();
  head_.reset();
  opaque_ = true;
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_OPAQUE;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  services_.events.Emit(record);
}

// Heads.

void Http1Session::OnRequestHead(size_t length) {
  deadline_.Cancel();
  number_++;
  head_ = std::make_unique<Http1Head>();
  const Http1Refusal refusal = ReadRequestHead(BytesOf(held_), length, head_.get());
  if (refusal != Http1Refusal::kNone) return Refuse(refusal);
  is_head_ = SameMethod(held_, head_->method, "HEAD");
  upgrades_ = head_->upgrades_websocket;
  persistent_ = head_->persistent;
  replied_ = false;
  status_ = 0;
  open_ = true;
  request_ = Request::kDeciding;
  request_body_.Begin(*head_);
  response_body_ = Http1BodyCopy();
  facts_ = RequestTexts(BytesOf(held_), *head_, facts_ends_);
  Emit();
  Deadline(kAnswerMs);
}

void Http1Session::Emit() const {
  const std::string_view all = facts_;
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_REQUEST;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.expect = number_;
  services_.events.Emit(
      record, {{all.substr(0, facts_ends_[0]), all.substr(facts_ends_[0], facts_ends_[1] - facts_ends_[0]),
                all.substr(facts_ends_[1], facts_ends_[2] - facts_ends_[1]), all.substr(facts_ends_[2])}});
}

void Http1Session::OnResponseHead(size_t length) {
  Http1Head head;
  const uint8_t* const bytes = BytesOf(held_response_);
  Http1Refusal refusal = ReadResponseHead(bytes, length, is_head_, &head);
  // The bytes behind the request are no HTTP from here on: the application must have been asked, and have all of it.
  const bool switches = head.status == 101;
  if (refusal == Http1Refusal::kNone && switches && (!upgrades_ || request_ != Request::kDone))
    refusal = Http1Refusal::kUpgrade;
  if (refusal != Http1Refusal::kNone) return BadResponse(refusal);
  CopyHead(bytes, head, {}, &to_down_);
  held_response_.clear();
  scanned_response_ = 0;
  moved_ = sent_ + received_ + request_body_.payload();
  Deadline(kStalledMs);
  if (switches) {
    status_ = 101;
    upgraded_ = true;
    EndRequest(RequestOutcome::kUpgraded);
    opaque_ = true;
    return;
  }
  if (head.status < 200) return;
  status_ = head.status;
  persistent_ = persistent_ && head.persistent;
  response_body_.Begin(head);
  response_ = response_body_.done() ? Response::kDone : Response::kBody;
  if (response_ == Response::kDone) NextIfDone();
}

// Answers.

void Http1Session::OnAnswer(const Answer& answer) {
  // A request that went on is refused after all: what was begun cannot be taken back.
  const bool went_on = upgraded_ || (open_ && request_ != Request::kDeciding);
  if (answer.type() == ORLOP_ANSWER_REPLY && went_on && answer.expect() == number_)
    return user_.OnSessionEnded(CloseCause::kClosedByAnswer, 0);
  if (answer.type() == ORLOP_ANSWER_ASK_AGAIN) {
    if (upgraded_ || (open_ && !replied_)) Emit();
    return;
  }
  if (!running_ || request_ != Request::kDeciding || answer.expect() != number_) return;
  answer.type() == ORLOP_ANSWER_FORWARD ? Forward(answer.Text(0)) : Reply(answer.status(), answer.Text(0));
  Pump();
}

void Http1Session::Forward(std::string_view target) {
  CopyHead(BytesOf(held_), *head_, target, &to_up_);
  head_.reset();
  held_.clear();
  scanned_ = 0;
  request_ = request_body_.done() ? Request::kDone : Request::kBody;
  response_ = Response::kHead;
  moved_ = sent_ + received_;
  Deadline(kStalledMs);
}

void Http1Session::Reply(int status, std::string_view body) {
  const Http1Head& head = *head_;
  const bool small = head.framing == Http1Framing::kNone ||
                     (head.framing == Http1Framing::kLength && head.content_length <= kDrainedBytes);
  // A caller that waits for 100 may send its body or not.
  const bool goes_on = persistent_ && head.minor == 1 && small && !head.expects_continue;
  head_.reset();
  held_.clear();
  scanned_ = 0;
  status_ = status;
  replied_ = true;
  response_ = Response::kDone;
  Respond(status, body, !goes_on);
  if (!goes_on) {
    EndRequest(RequestOutcome::kReplied);
    return Linger();
  }
  request_ = request_body_.done() ? Request::kDone : Request::kDraining;
  moved_ = sent_ + received_;
  Deadline(kStalledMs);
  NextIfDone();
}

void Http1Session::Refuse(Http1Refusal refusal) {
  // A policy that only watches breaks nothing.
  if (reading_ == HttpReading::kOrPass) return Pass();
  head_.reset();
  held_.clear();
  ForgetBodies();
  status_ = StatusOf(refusal);
  open_ = true;
  Respond(status_, NameOf(refusal), true);
  EndRequest(RequestOutcome::kRefused, static_cast<int>(refusal));
  Linger();
}

void Http1Session::BadResponse(Http1Refusal refusal) {
  // In the middle of a request's body nothing can pass as it came: part of it was framed anew.
  if (reading_ == HttpReading::kOrPass && request_ == Request::kDone) {
    EndRequest(RequestOutcome::kBadResponse, static_cast<int>(refusal));
    return Pass();
  }
  status_ = 502;
  Respond(502, NameOf(refusal), true);
  EndRequest(RequestOutcome::kBadResponse, static_cast<int>(refusal));
  response_ = Response::kDone;
  Linger();
}

void Http1Session::Respond(int status, std::string_view body, bool close) {
  const std::string_view reason = ReasonOf(status);
  char head[256];
  const int length = snprintf(head, sizeof head,
                              "HTTP/1.1 %d %.*s\r\ncontent-type: text/plain\r\ncontent-length: %zu\r\n%s\r\n",
                              status, static_cast<int>(reason.size()), reason.data(), body.size(),
                              close ? "connection: close\r\n" : "");
  Append(&to_down_, {head, static_cast<size_t>(length)});
  if (!is_head_) Append(&to_down_, body);
}

// Ends.

void Http1Session::EndRequest(RequestOutcome outcome, int refusal) {
  if (!open_) return;
  open_ = false;
  orlop_engine_event record{};
  record.type = ORLOP_ENGINE_REQUEST_ENDED;
  record.conn = ref_.index;
  record.generation = ref_.generation;
  record.pod_idx = pod_idx_;
  record.expect = number_;
  record.kind = static_cast<uint32_t>(outcome);
  record.detail = status_;
  record.identity = refusal;
  record.sent_bytes = request_body_.payload();
  record.received_bytes = response_body_.payload();
  record.duration_us = services_.clock.now_us() - began_us_;
  services_.events.Emit(record);
  // A websocket lives on what its request was allowed, which may be asked again.
  if (!upgraded_) facts_.clear();
}

void Http1Session::NextIfDone() {
  if (request_ != Request::kDone || response_ != Response::kDone) return;
  deadline_.Cancel();
  EndRequest(replied_ ? RequestOutcome::kReplied : RequestOutcome::kAnswered);
  if (!persistent_ || failing_) return Close();
  request_ = Request::kHead;
  response_ = Response::kNone;
  is_head_ = false;
}

void Http1Session::ForgetBodies() {
  request_body_ = Http1BodyCopy();
  response_body_ = Http1BodyCopy();
}

void Http1Session::Close() {
  request_ = Request::kDone;
  fin_up_ = fin_down_ = true;
  Deadline(kStalledMs);
}

void Http1Session::Linger() {
  lingers_ = true;
  Close();
  Deadline(kLingerMs);
}

void Http1Session::OnDeadline() {
  if (!running_) return;
  // What waits for an end that takes nothing is not waited for.
  if (lingers_ || (fin_up_ && fin_down_)) return End(CloseCause::kFinished);
  if (response_ == Response::kHead && !held_response_.empty()) return End(CloseCause::kHttpTimeout);
  if (failing_) return End(CloseCause::kResetByUpstream, ECONNRESET);
  if (request_ == Request::kHead || request_ == Request::kDeciding) {
    const bool decides = request_ == Request::kDeciding;
    if (!decides && reading_ == HttpReading::kOrPass) {
      Pass();
      return Pump();
    }
    if (!decides) {
      number_++;
      ForgetBodies();
    }
    open_ = true;
    status_ = decides ? 503 : 408;
    head_.reset();
    held_.clear();
    Respond(status_, "timeout", true);
    EndRequest(RequestOutcome::kTimeout);
    Linger();
    return Pump();
  }
  // Nothing is due while the application thinks, or has nothing to say.
  const bool waits =
      request_ == Request::kBody || request_ == Request::kDraining || !to_up_.empty() || !to_down_.empty();
  const uint64_t moved = sent_ + received_ + request_body_.payload();
  if (waits && moved == moved_) return End(CloseCause::kHttpTimeout);
  moved_ = moved;
  Deadline(kStalledMs);
}

// Bytes out.

void Http1Session::Flush() {
  FlushTo(*up_, to_up_, fin_up_, &sent_);
  if (running_) FlushTo(*down_, to_down_, fin_down_, &received_);
  if (running_ && !lingers_ && down_->shut() && up_->shut()) End(CloseCause::kFinished);
}

void Http1Session::FlushTo(ByteEnd& to, ByteQueue& out, bool fin, uint64_t* counter) {
  if (to.pulls()) {
    if (!out.empty() || fin) to.Wake();
    return;
  }
  while (!out.empty() && to.writable()) {
    iovec list[Scratch::kPieces];
    Pieces pieces{list, out.Front(list, Scratch::kPieces), 0};
    for (int i = 0; i < pieces.count; i++) pieces.bytes += list[i].iov_len;
    const ssize_t taken = to.Write(pieces);
    if (taken < 0) {
      return End(&to == down_ ? CloseCause::kResetByDownstream : CloseCause::kResetByUpstream,
                 static_cast<int>(-taken));
    }
    if (taken == 0) return;
    out.Drop(static_cast<size_t>(taken));
    *counter += static_cast<uint64_t>(taken);
  }
  if (out.empty() && fin) to.ShutWrite();
}

ssize_t Http1Session::OnPull(ByteEnd& end, uint8_t* into, size_t capacity, bool* more) {
  if (!running_) return -EAGAIN;
  const bool to_up = &end == up_;
  ByteQueue& out = to_up ? to_up_ : to_down_;
  const bool fin = to_up ? fin_up_ : fin_down_;
  if (out.empty()) return fin ? 0 : -EAGAIN;
  const size_t got = out.Read(into, capacity);
  (to_up ? sent_ : received_) += got;
  *more = !out.empty() || fin;
  // There is room again, and what waits for an empty queue may be next.
  services_.turn.Again(this);
  return static_cast<ssize_t>(got);
}

void Http1Session::PassIfFlushed() {
  if (!opaque_ || !to_up_.empty() || !to_down_.empty()) return;
  running_ = false;
  deadline_.Cancel();
  Turn::Task::Remove();
  user_.OnOpaque();
}

}  // namespace orlop
