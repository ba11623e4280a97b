// 16 · data thread · one request of HTTP/2: its head becomes an event, TypeScript's answer becomes a stream to the application, or a reply.
#include "engine/h2c/h2c_exchange.h"

#include <array>

#include "engine/core/answer.h"
#include "engine/h2c/grpc_refusal.h"
#include "engine/h2c/h2c_head.h"
#include "engine/http/head_edits.h"

namespace orlop {
namespace {

// TypeScript itself waits less.
constexpr uint64_t kAnswerMs = 6'000;
// A caller that does not take an answer of ours.
constexpr uint64_t kReplyMs = 30'000;

int StatusOf(std::string_view digits) {
  if (digits.size() != 3) return 0;
  int status = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return 0;
    status = status * 10 + (c - '0');
  }
  return status;
}

std::array<char, 3> DigitsOf(int status) {
  return {static_cast<char>('0' + status / 100 % 10), static_cast<char>('0' + status / 10 % 10),
          static_cast<char>('0' + status % 10)};
}

}  // namespace

H2cExchange::H2cExchange(const EngineServices& services, Owner& owner, const RequestsOf& of,
                         HttpReading reading, size_t at)
    : place(at),
      services_(services),
      owner_(owner),
      of_(of),
      reading_(reading),
      caller_(services.buffers.chunks, *this, app_),
      app_(services.buffers.chunks, *this, caller_),
      began_us_(services.clock.now_us()),
      deadline_([](void* self) { static_cast<H2cExchange*>(self)->OnDeadline(); }, this) {
  if (OriginSource* const origins = owner.Origins())
    route_ = std::make_unique<H2cRoute>(
        *origins, [](void* self) { static_cast<H2cExchange*>(self)->OnRouteDeadline(); },
        [](void* self) { static_cast<H2cExchange*>(self)->OnQueuedTooLong(); },
        [](void* self) { static_cast<H2cExchange*>(self)->AskAboutTry(); }, this);
}

void H2cExchange::OnHead(H2cHalf& half, bool ends) {
  &half == &caller_ ? OnRequest(ends) : OnResponse(ends);
}

// The request.

void H2cExchange::OnRequest(bool ends) {
  caller_.HeadTaken();
  number_ = owner_.OnRequestHead();
  const H2cFields& fields = caller_.fields();
  is_grpc_ = IsGrpc(fields.Find("content-type"));
  to_head_ = fields.Find(":method") == "HEAD";
  is_https_ = fields.Find(":scheme") == "https";
  std::string text;
  Http1Head head;
  const Http1Refusal refusal = ReadH2cRequest(fields, ends, &text, &head);
  if (refusal != Http1Refusal::kNone) return Refuse(refusal);
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  head_.Keep(bytes, text.size(), head);
  phase_ = Phase::kDeciding;
  services_.shares.Begin(this, of_.pod_idx);
  if (!services_.shares.Open(this, head_.held())) {
    // A policy that only watches breaks nothing.
    if (reading_ == HttpReading::kOrPass) return ForwardUnasked();
    return Refuse(Http1Refusal::kPodBudget);
  }
  CountHeld();
  if (services_.shares.MayGo(this, text.size()))
    EmitRequest(services_.events, of_, number_, bytes, head, HttpProtocol::kHttp2);
  services_.timers.Start(&deadline_, kAnswerMs);
}

void H2cExchange::OnMayGo() {
  Http1Head head;
  head_.Read(&head);
  EmitRequest(services_.events, of_, number_, head_.bytes(), head, HttpProtocol::kHttp2);
}

void H2cExchange::AskAgain() {
  // What waits for its turn is judged by what holds then.
  if (phase_ == Phase::kOpen || phase_ == Phase::kAsking || (phase_ == Phase::kDeciding && !awaits_turn()))
    OnMayGo();
}

void H2cExchange::OnAnswer(const Answer& answer) {
  if (phase_ == Phase::kEnded) return;
  if (answer.type() == ORLOP_ANSWER_RESET) return Cut(NGHTTP2_INTERNAL_ERROR, RequestOutcome::kCut);
  if (phase_ == Phase::kAsking) return OnAnswerToTry(answer);
  if (phase_ == Phase::kDeciding && answer.type() == ORLOP_ANSWER_MIRROR) return AskForCopy(answer);
  if (phase_ == Phase::kDeciding && answer.type() == ORLOP_ANSWER_FORWARD)
    return route_ ? ForwardToOrigin(answer) : Forward(answer);
  if (answer.type() != ORLOP_ANSWER_REPLY) return;
  if (phase_ == Phase::kDeciding) return Deny(answer);
  if (phase_ != Phase::kOpen || caller_.finished()) return;
  // A request that went on is refused after all. What was begun cannot be taken back.
  if (status_ != 0) return Cut(denied_code(), RequestOutcome::kCut);
  StopWaiting();
  app_.Leave(NGHTTP2_CANCEL);
  Deny(answer);
}

void H2cExchange::Forward(const Answer& answer) {
  Http1Head head;
  head_.Read(&head);
  Http1Edit edit = UnchangedEdit(head);
  edit.without_envoys = answer.without_proxy_headers();
  const std::string_view target = answer.Text(0);
  if (!target.empty()) edit.path = target.substr(0, target.find('?'));
  const std::string_view authority = answer.Text(1);
  if (!authority.empty()) edit.authority = authority;
  HeadEdits edits;
  if (const std::string_view changed = answer.Bytes(2); !changed.empty()) {
    if (!edits.Read(changed)) return Cut(NGHTTP2_INTERNAL_ERROR, RequestOutcome::kCut);
    edit.pairs = edits.pairs();
    edit.pair_count = edits.count();
  }
  SendOn(head, edit);
}

void H2cExchange::ForwardUnasked() {
  Http1Head head;
  head_.Read(&head);
  SendOn(head, UnchangedEdit(head));
}

void H2cExchange::SendOn(const Http1Head& head, const Http1Edit& edit) {
  H2cBlock block;
  if (!WriteH2cRequest(head_.bytes(), head, edit, is_https_ ? "https" : "http", &block))
    return Cut(NGHTTP2_INTERNAL_ERROR, RequestOutcome::kCut);
  H2Session* const application = owner_.Application();
  phase_ = Phase::kOpen;
  services_.timers.Start(&deadline_, kStalledMs);
  // It takes no more: the caller may ask again, on another connection.
  if (!application || !app_.Ask(*application, block.fields, caller_.drained()))
    Cut(NGHTTP2_REFUSED_STREAM, RequestOutcome::kResetByUpstream);
}

// The response.

void H2cExchange::OnResponse(bool ends) {
  const H2cFields& fields = app_.fields();
  const int status = StatusOf(fields.Find(":status"));
  const Http1Refusal refusal = status < 100         ? Http1Refusal::kStartLine
                               : fields.too_large() ? Http1Refusal::kHeadTooLarge
                               : fields.too_many()  ? Http1Refusal::kTooManyFields
                                                    : Http1Refusal::kNone;
  if (refusal != Http1Refusal::kNone) return LoseApplication(RequestOutcome::kBadResponse, refusal);
  std::vector<H2Field> block;
  block.reserve(fields.count());
  for (size_t i = 0; i < fields.count(); i++) block.push_back(fields.At(i));
  if (status < 200) return caller_.Inform(block);
  app_.HeadTaken();
  // A head alone may be the whole answer.
  NoteGrpcStatus(fields);
  if (HoldsResponse(block, status, ends)) return;
  if (route_) return RespondFromOrigin(&block, status, ends);
  status_ = status;
  caller_.Answer(block, ends);
}

void H2cExchange::OnTrailers(H2cHalf& half) {
  if (&half == &app_) NoteGrpcStatus(half.fields());
}

void H2cExchange::NoteGrpcStatus(const H2cFields& fields) {
  if (!is_grpc_) return;
  const std::string_view said = fields.Find("grpc-status");
  if (!said.empty()) grpc_status_ = static_cast<int8_t>(GrpcStatusIn(said));
}

void H2cExchange::OnBadTrailers(H2cHalf& half, Http1Refusal refusal) {
  const RequestOutcome outcome = &half == &caller_ ? RequestOutcome::kRefused : RequestOutcome::kBadResponse;
  Cut(NGHTTP2_PROTOCOL_ERROR, outcome, static_cast<int32_t>(refusal));
}

// Answers of ours.

void H2cExchange::Deny(const Answer& answer) {
  HeadEdits edits;
  const bool written = edits.Read(answer.Bytes(1));
  const int status = written ? answer.status() : 500;
  Reply(status, written ? answer.Text(0) : "internal error", edits.pairs(), edits.count());
  status_ = status;
  Report(RequestOutcome::kReplied, 0);
}

void H2cExchange::Refuse(Http1Refusal refusal) {
  status_ = orlop::StatusOf(refusal);
  ReplyText(status_, NameOf(refusal));
  Report(RequestOutcome::kRefused, static_cast<int32_t>(refusal));
}

void H2cExchange::Reply(int status, std::string_view body, const Http1Pair* pairs, size_t pair_count) {
  phase_ = Phase::kReplied;
  if (route_) route_->deadline.Cancel();
  services_.timers.Start(&deadline_, kReplyMs);
  const std::array<char, 3> digits = DigitsOf(is_grpc_ ? 200 : status);
  if (is_grpc_) grpc_status_ = static_cast<int8_t>(GrpcStatusOf(status));
  const std::string number = std::to_string(is_grpc_ ? grpc_status_ : static_cast<int>(body.size()));
  const std::string message = GrpcMessageOf(body);
  std::string names;
  for (size_t i = 0; i < pair_count; i++) names += pairs[i].name;
  for (char& c : names) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  std::vector<H2Field> fields{{":status", {digits.data(), digits.size()}},
                              {"content-type", is_grpc_ ? "application/grpc" : "text/plain"}};
  fields.push_back({is_grpc_ ? "grpc-status" : "content-length", number});
  if (is_grpc_) fields.push_back({"grpc-message", message});
  for (size_t i = 0, at = 0; i < pair_count; at += pairs[i].name.size(), i++) {
    const std::string_view name = std::string_view(names).substr(at, pairs[i].name.size());
    if (pairs[i].value.data() != nullptr && name != "content-type") fields.push_back({name, pairs[i].value});
  }
  const bool whole = is_grpc_ || to_head_ || body.empty();
  caller_.DropPayload();
  if (!whole) app_.Feed(body);
  caller_.StopPeer();
  caller_.Answer(fields, whole);
}

uint32_t H2cExchange::denied_code() const {
  // What a client of gRPC reads as PERMISSION_DENIED (grpc:doc/PROTOCOL-HTTP2.md, Errors).
  return is_grpc_ ? NGHTTP2_INADEQUATE_SECURITY : NGHTTP2_CANCEL;
}

// Ends.

void H2cExchange::LoseApplication(RequestOutcome outcome, Http1Refusal why) {
  if (phase_ != Phase::kOpen || app_.ended()) return;
  if (status_ != 0) return Cut(NGHTTP2_INTERNAL_ERROR, outcome, static_cast<int32_t>(why));
  app_.Leave(NGHTTP2_CANCEL);
  status_ = 502;
  ReplyText(status_, NameOf(why));
  Report(outcome, static_cast<int32_t>(why));
}

void H2cExchange::LoseCaller() {
  if (is_served()) return Abandon();
  if (!caller_.ended()) Cut(NGHTTP2_CANCEL, RequestOutcome::kResetByDownstream);
}

void H2cExchange::OnClosed(H2cHalf& half, uint32_t code) {
  if (phase_ == Phase::kEnded) return;
  if (&half == &app_) {
    if (phase_ == Phase::kAsking && !app_.ended()) route_->failed->gone = true;
    if (phase_ != Phase::kOpen) return;
    if (!app_.ended()) {
      const uint32_t ours = code == NGHTTP2_NO_ERROR ? static_cast<uint32_t>(NGHTTP2_INTERNAL_ERROR) : code;
      if (route_) return OnOriginReset(ours);
      return Cut(ours, RequestOutcome::kResetByUpstream);
    }
    // It has answered, and takes no more of the request.
    if (!caller_.ended()) caller_.StopPeer();
    return EndIfDone();
  }
  if (phase_ == Phase::kReplied || (code == NGHTTP2_NO_ERROR && caller_.finished())) {
    if (phase_ == Phase::kReplied) return End(NGHTTP2_NO_ERROR);
    EndIfDone();
    // An application may answer early, and read the request later, or never. Its end never comes from a caller that broke off.
    if (phase_ == Phase::kOpen && is_served()) caller_.ended() ? WatchMovement(kLeftOverMs) : Abandon();
    return;
  }
  if (number_ == 0) number_ = owner_.OnRequestHead();
  // nghttp2 has found it wrong, or its caller has given it up.
  const bool malformed = code == NGHTTP2_PROTOCOL_ERROR && !caller_.ended();
  if (malformed) return Cut(code, RequestOutcome::kRefused, static_cast<int32_t>(Http1Refusal::kHttp2));
  Cut(code == NGHTTP2_NO_ERROR ? static_cast<uint32_t>(NGHTTP2_CANCEL) : code,
      RequestOutcome::kResetByDownstream);
}

void H2cExchange::EndIfDone() {
  if (!caller_.closed() || !app_.closed()) return;
  Report(RequestOutcome::kAnswered, answered_us());
  End(NGHTTP2_NO_ERROR);
}

void H2cExchange::Abandon() {
  Report(RequestOutcome::kAnswered, answered_us());
  End(NGHTTP2_CANCEL);
}

void H2cExchange::WatchMovement(uint64_t ms) {
  last_moved_ = moved();
  services_.timers.Start(&deadline_, ms);
}

void H2cExchange::Stop(RequestOutcome outcome) {
  if (is_served()) return Abandon();
  if (number_ == 0) number_ = owner_.OnRequestHead();
  Report(outcome, 0);
  End(NGHTTP2_CANCEL);
}

void H2cExchange::OnShed(CloseCause) {
  if (phase_ != Phase::kEnded) Cut(NGHTTP2_ENHANCE_YOUR_CALM, RequestOutcome::kCut);
}

void H2cExchange::Cut(uint32_t code, RequestOutcome outcome, int32_t why) {
  Report(outcome, why);
  End(code);
}

void H2cExchange::Report(RequestOutcome outcome, int32_t why, std::string_view message) {
  if (reported_) return;
  reported_ = true;
  const uint64_t response = phase_ == Phase::kReplied ? 0 : app_.gone_on();
  const std::string grpc_status = is_grpc_ ? std::to_string(grpc_status_) : std::string();
  EmitRequestEnded(services_.events, of_, number_,
                   {outcome, why, status_, caller_.gone_on(), response, services_.clock.now_us() - began_us_,
                    message, grpc_status});
  head_.Forget();
  if (route_ && route_->copies) route_->copies->Drop(MirrorEnd::kIncomplete);
  CountHeld();
  services_.shares.End(this);
}

void H2cExchange::End(uint32_t code) {
  if (phase_ == Phase::kEnded) return;
  phase_ = Phase::kEnded;
  deadline_.Cancel();
  StopWaiting();
  if (route_) route_->CancelTimers();
  CountHeld();
  caller_.DropPayload();
  app_.DropPayload();
  // The application hears that its caller has gone, whatever the caller hears.
  app_.Leave(code == NGHTTP2_NO_ERROR ? code : static_cast<uint32_t>(NGHTTP2_CANCEL));
  caller_.Leave(code);
  owner_.OnExchangeEnded(*this);
  services_.turn.Bury(this);
}

void H2cExchange::CountHeld() {
  const size_t now =
      phase_ == Phase::kEnded ? 0 : head_.held() + caller_.kept() + (route_ ? route_->held() : 0);
  services_.buffers.heads += now - counted_;
  counted_ = now;
  services_.shares.Holds(this, now, caller_.waiting() + app_.waiting());
}

void H2cExchange::OnDeadline() {
  if (phase_ == Phase::kReplied) return End(NGHTTP2_CANCEL);
  if (phase_ == Phase::kAsking) return PassTry();
  if (phase_ == Phase::kDeciding) {
    // A policy that only watches breaks nothing.
    if (reading_ == HttpReading::kOrPass) return ForwardUnasked();
    status_ = 503;
    ReplyText(status_, "timeout");
    return Report(RequestOutcome::kTimeout, 0);
  }
  // Nothing is due while the application thinks, or a caller has nothing to say: calls of gRPC may be silent for hours.
  const bool waits = caller_.waiting() > 0 || app_.waiting() > 0;
  const bool stalls = waits && moved() == last_moved_;
  if (stalls) return is_served() ? Abandon() : Cut(NGHTTP2_CANCEL, RequestOutcome::kTimeout);
  WatchMovement(is_served() ? kLeftOverMs : kStalledMs);
}

}  // namespace orlop
