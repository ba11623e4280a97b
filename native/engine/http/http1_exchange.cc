// 17 · any thread · exchanges of HTTP/1, one at a time: a pipelined request waits until the response before it has gone (RFC 9112 section
// 9.3.2), so answers cannot change their order.
#include "engine/http/http1_exchange.h"

#include <algorithm>
#include <cstring>

namespace orlop {
namespace {

using Refusal = Http1Refusal;

Http1Step Step(Http1Do what, size_t at = 0, size_t used = 0) {
  Http1Step step;
  step.what = what;
  step.at = at;
  step.used = used;
  return step;
}

// All bytes, whatever they are.
Http1Step Pass(size_t length, bool ended) {
  if (length > 0) return Step(Http1Do::kPayload, 0, length);
  return Step(ended ? Http1Do::kEnd : Http1Do::kWait);
}

}  // namespace

Http1Step Http1Exchange::FromClient(const uint8_t* bytes, size_t length, bool ended, Http1Head* head,
                                    Http1TrailerSection* trailers) {
  if (opaque_) return Pass(length, ended);
  switch (request_) {
    case Request::kHead:
      return ReadRequest(bytes, length, ended, head);
    case Request::kBody:
      return ReadBody(bytes, length, ended, trailers);
    case Request::kDraining:
      return Drain(bytes, length, ended, trailers);
    case Request::kLingering:
      return Linger(length, ended);
    case Request::kJudging:
    case Request::kDone:
      break;
  }
  return Step(Http1Do::kHold);
}

Http1Step Http1Exchange::ReadRequest(const uint8_t* bytes, size_t length, bool ended, Http1Head* head) {
  const size_t seen = std::min(length, kHttp1HeadBytes);
  const size_t end = Http1HeadEnd(bytes, seen, scanned_request_);
  if (end == 0) {
    scanned_request_ = static_cast<uint32_t>(seen);
    if (length >= kHttp1HeadBytes) return Reply(431, Refusal::kHeadTooLarge, 0);
    if (!ended) return Step(Http1Do::kWait);
    // An empty line behind a body is no request (RFC 9112 section 2.2).
    if (length == 0 || (length == 2 && memcmp(bytes, "\r\n", 2) == 0)) return Step(Http1Do::kFinish);
    return Reply(400, Refusal::kHeadEnd, 0);
  }
  scanned_request_ = 0;
  const Refusal refusal = ReadRequestHead(bytes, end, head);
  if (refusal != Refusal::kNone) return Reply(static_cast<uint16_t>(StatusOf(refusal)), refusal, 0);
  request_body_ = Http1Body(*head);
  request_ = Request::kJudging;
  minor_ = head->minor;
  answers_head_ = head->method.length == 4 && memcmp(bytes + head->method.at, "HEAD", 4) == 0;
  persistent_ = head->persistent;
  websocket_ = head->upgrades_websocket;
  return Step(Http1Do::kJudge, 0, end);
}

Http1Edit Http1Exchange::Forward(const Http1Head& head) {
  request_ = Request::kBody;
  response_ = Response::kHead;
  return EditOf(head);
}

Http1Edit Http1Exchange::ForwardAgain(const Http1Head& head) {
  response_ = Response::kHead;
  scanned_response_ = 0;
  // A response that was not passed on may have said otherwise.
  persistent_ = head.persistent;
  return EditOf(head);
}

Http1Edit Http1Exchange::EditOf(const Http1Head& head) const {
  Http1Edit edit = UnchangedEdit(head);
  if (apart_) {
    edit.minor = 1;
    edit.connection = Http1Option::kNone;
  }
  return edit;
}

Http1Refused Http1Exchange::Answer() {
  if (request_ != Request::kDone || !persistent_) {
    request_ = Request::kLingering;
    return {Http1Option::kClose, true};
  }
  const uint8_t minor = minor_;
  Next();
  return {minor == 0 ? Http1Option::kKeepAlive : Http1Option::kNone, false};
}

Http1Refused Http1Exchange::Refuse(const Http1Head& head) {
  const bool empty = request_body_.ended();
  const bool drains = head.framing == Http1Framing::kLength && head.content_length <= kHttp1DrainBytes &&
                      !head.expects_continue;
  if (!persistent_ || (!empty && !drains)) {
    request_ = Request::kLingering;
    return {Http1Option::kClose, true};
  }
  request_ = Request::kDraining;
  if (empty) Next();
  return {minor_ == 0 ? Http1Option::kKeepAlive : Http1Option::kNone, false};
}

Http1Step Http1Exchange::ReadBody(const uint8_t* bytes, size_t length, bool ended,
                                  Http1TrailerSection* trailers) {
  const Http1BodyStep step = request_body_.Read(bytes, length, trailers);
  switch (step.event) {
    case Http1BodyEvent::kPayload:
      return Step(Http1Do::kPayload, step.at, step.used);
    case Http1BodyEvent::kEnd:
      request_ = Request::kDone;
      if (response_ == Response::kDone) Next();
      return Step(Http1Do::kEnd, step.at, step.used);
    case Http1BodyEvent::kRefused:
      if (response_ == Response::kHead) return Reply(400, step.refusal, step.used);
      return Abort(step.refusal, step.used);
    case Http1BodyEvent::kWait:
      break;
  }
  if (ended) return Step(Http1Do::kAbort);
  return Step(step.used > 0 ? Http1Do::kDiscard : Http1Do::kWait, 0, step.used);
}

Http1Step Http1Exchange::Drain(const uint8_t* bytes, size_t length, bool ended,
                               Http1TrailerSection* trailers) {
  const Http1BodyStep step = request_body_.Read(bytes, length, trailers);
  if (step.event != Http1BodyEvent::kPayload) return Step(ended ? Http1Do::kFinish : Http1Do::kWait);
  // A body with a length: no framing follows its last byte.
  if (request_body_.ended()) Next();
  return Step(Http1Do::kDiscard, 0, step.used);
}

Http1Step Http1Exchange::Linger(size_t length, bool ended) {
  dropped_ += length;
  if (dropped_ > kHttp1LingerBytes) return Step(Http1Do::kFinish);
  if (length > 0) return Step(Http1Do::kDiscard, 0, length);
  return Step(ended ? Http1Do::kFinish : Http1Do::kWait);
}

Http1Step Http1Exchange::FromServer(const uint8_t* bytes, size_t length, bool ended, Http1Head* head,
                                    Http1TrailerSection* trailers) {
  if (opaque_) return Pass(length, ended);
  if (request_ == Request::kLingering) return Step(Http1Do::kHold);
  switch (response_) {
    case Response::kHead:
      return ReadResponse(bytes, length, ended, head);
    case Response::kBody:
      return ReadAnswer(bytes, length, ended, trailers);
    case Response::kNone:
    case Response::kDone:
      break;
  }
  if (apart_) return Step(Http1Do::kHold);
  // Nobody has asked: a server that ends an idle connection, with or without a 408 before.
  return Step(length > 0 || ended ? Http1Do::kFinish : Http1Do::kWait);
}

Http1Step Http1Exchange::ReadResponse(const uint8_t* bytes, size_t length, bool ended, Http1Head* head) {
  const size_t seen = std::min(length, kHttp1HeadBytes);
  const size_t end = Http1HeadEnd(bytes, seen, scanned_response_);
  if (end == 0) {
    scanned_response_ = static_cast<uint32_t>(seen);
    if (length >= kHttp1HeadBytes) return Reply(502, Refusal::kHeadTooLarge, 0);
    if (!ended) return Step(Http1Do::kWait);
    if (apart_) return Step(Http1Do::kLost);
    // The server may have ended an idle connection while the request was on its way; the client sees just that and asks again.
    if (length == 0 && reused_) return Step(Http1Do::kFinish);
    return Reply(502, Refusal::kHeadEnd, 0);
  }
  scanned_response_ = 0;
  const Refusal refusal = ReadResponseHead(bytes, end, answers_head_, head);
  if (refusal != Refusal::kNone) return Reply(502, refusal, 0);
  switch (FollowsResponse(*head, false)) {
    case Http1Follows::kOpaque:
      return Switch(end, *head);
    case Http1Follows::kResponse:
      break;
    case Http1Follows::kBody:
      return Respond(end, *head);
  }
  // HTTP/1.0 has no 1xx (RFC 9110 section 15.2).
  Http1Step step = Step(minor_ == 0 ? Http1Do::kDiscard : Http1Do::kHead, 0, end);
  step.edit = UnchangedEdit(*head);
  step.edit.connection = Http1Option::kNone;
  step.edit.websocket = false;
  return step;
}

// 101 answers nothing but an offer that we passed on, and only behind the whole request (RFC 9110 section 7.8).
Http1Step Http1Exchange::Switch(size_t used, const Http1Head& head) {
  if (!websocket_ || !head.upgrades_websocket || request_ != Request::kDone) {
    return Reply(502, Refusal::kUpgrade, 0);
  }
  opaque_ = true;
  Http1Step step = Step(Http1Do::kHead, 0, used);
  step.opaque = true;
  step.edit = UnchangedEdit(head);
  step.edit.connection = Http1Option::kNone;
  return step;
}

Http1Step Http1Exchange::Respond(size_t used, const Http1Head& head) {
  response_body_ = Http1Body(head);
  response_ = Response::kBody;
  Http1Step step = Step(Http1Do::kHead, 0, used);
  step.edit = UnchangedEdit(head);
  // No client of HTTP/1.0 reads chunks (RFC 9112 section 7).
  if (minor_ == 0 && head.framing == Http1Framing::kChunked) step.edit.framing = Http1Framing::kUntilClose;
  if (apart_ && minor_ == 1 && head.framing == Http1Framing::kUntilClose)
    step.edit.framing = Http1Framing::kChunked;
  server_persistent_ = head.persistent && head.framing != Http1Framing::kUntilClose;
  persistent_ = persistent_ && (apart_ || head.persistent) && step.edit.framing != Http1Framing::kUntilClose;
  step.edit.connection = !persistent_  ? Http1Option::kClose
                         : minor_ == 0 ? Http1Option::kKeepAlive
                                       : Http1Option::kNone;
  return step;
}

Http1Step Http1Exchange::ReadAnswer(const uint8_t* bytes, size_t length, bool ended,
                                    Http1TrailerSection* trailers) {
  const Http1BodyStep step = response_body_.Read(bytes, length, trailers);
  switch (step.event) {
    case Http1BodyEvent::kPayload:
      return Step(Http1Do::kPayload, step.at, step.used);
    case Http1BodyEvent::kEnd:
      return EndResponse(step);
    case Http1BodyEvent::kRefused:
      return Abort(step.refusal, step.used);
    case Http1BodyEvent::kWait:
      break;
  }
  if (!ended) return Step(step.used > 0 ? Http1Do::kDiscard : Http1Do::kWait, 0, step.used);
  if (response_body_.Close() != Refusal::kNone) return Step(Http1Do::kAbort);
  trailers->used = trailers->field_count = 0;
  return EndResponse(step);
}

Http1Step Http1Exchange::EndResponse(const Http1BodyStep& step) {
  Http1Step end = Step(Http1Do::kEnd, step.at, step.used);
  end.closes = !persistent_;
  response_ = Response::kDone;
  reused_ = true;
  if (!persistent_) {
    request_ = Request::kLingering;
  } else if (request_ == Request::kDone) {
    Next();
  }
  return end;
}

// What the server has begun is never continued by an answer of ours.
Http1Step Http1Exchange::Reply(uint16_t status, Http1Refusal refusal, size_t used) {
  Http1Step step = Step(Http1Do::kReply, used, used);
  step.status = status;
  step.refusal = refusal;
  step.closes = true;
  request_ = Request::kLingering;
  return step;
}

Http1Step Http1Exchange::Abort(Http1Refusal refusal, size_t used) {
  Http1Step step = Step(Http1Do::kAbort, used, used);
  step.refusal = refusal;
  return step;
}

void Http1Exchange::Next() {
  answers_head_ = false;
  request_ = Request::kHead;
  response_ = Response::kNone;
}

}  // namespace orlop
