// 16 · data thread · a connection that is read: TypeScript is asked about a request, which goes on as it says, or is answered.
#include "engine/core/answer.h"
#include "engine/http/head_edits.h"
#include "engine/http/http1_session.h"

namespace orlop {
namespace {

constexpr Http1Pair kPlainText = {"content-type", "text/plain"};

}  // namespace

void Http1Session::Ask() const {
  Http1Head head;
  head_.Read(&head);
  EmitRequest(services_.events, of_, number_, head_.bytes(), head);
}

void Http1Session::OnAnswer(const Answer& answer) {
  const bool went_on = upgraded_ || phase_ == Phase::kOpen;
  if (answer.type() == ORLOP_ANSWER_ASK_AGAIN) {
    // A request that still waits for its turn need not be asked about again: when its turn comes it is judged by what holds then.
    if (went_on || (phase_ == Phase::kDeciding && !awaits_turn())) Ask();
    return;
  }
  if (answer.expect() != number_) return;
  // HTTP/1 cannot end a request without an answer but by ending its connection.
  if (answer.type() == ORLOP_ANSWER_RESET) return user_.OnSessionEnded(CloseCause::kClosedByAnswer, 0);
  if (asks_about_try()) return OnAnswerToTry(answer);
  // The request has gone on and is refused after all. What the application got cannot be taken back, so the connection ends.
  if (went_on && answer.type() == ORLOP_ANSWER_REPLY)
    return user_.OnSessionEnded(CloseCause::kClosedByAnswer, 0);
  if (!running_ || phase_ != Phase::kDeciding) return;
  if (answer.type() == ORLOP_ANSWER_MIRROR) return AskForCopy(answer);
  // An idle connection to the origin is there within the call and would pump by itself: once, below, is enough.
  pumping_ = true;
  answer.type() == ORLOP_ANSWER_FORWARD ? Forward(answer) : Deny(answer);
  pumping_ = false;
  Pump();
}

void Http1Session::Forward(const Answer& answer) {
  Http1Head head;
  head_.Read(&head);
  if (!WriteRequest(answer, head, exchange_.Forward(head))) return;
  phase_ = Phase::kOpen;
  AwaitMovement();
  if (copies()) copies()->Begin(head_, HttpProtocol::kHttp1, false);
  if (route_) ForwardToOrigin(answer, head, {});
}

bool Http1Session::WriteRequest(const Answer& answer, const Http1Head& head, Http1Edit edit) {
  const std::string_view target = answer.Text(0);
  edit.without_envoys = answer.without_proxy_headers();
  edit.keep_alive = !route_;
  if (!target.empty()) edit.path = target.substr(0, target.find('?'));
  const std::string_view authority = answer.Text(1);
  if (!authority.empty()) edit.authority = authority;
  HeadEdits edits;
  if (const std::string_view changed = answer.Bytes(2); !changed.empty()) {
    if (!edits.Read(changed)) {
      End(CloseCause::kHttpRefused);
      return false;
    }
    edit.pairs = edits.pairs();
    edit.pair_count = edits.count();
  }
  if (route_) SettleLink();
  if (up_.WriteHead(head_.bytes(), head_.length(), head, edit)) return true;
  End(CloseCause::kHttpRefused);
  return false;
}

void Http1Session::Deny(const Answer& answer) {
  const bool to_head = exchange_.answers_head();
  Http1Head head;
  head_.Read(&head);
  const Http1Refused refused = exchange_.Refuse(head);
  WriteReply(answer, refused.connection, to_head);
  EndRequest(RequestOutcome::kReplied);
  refused.closes || number_ >= kHttp1MostRequests ? Close() : AwaitRequest();
}

void Http1Session::WriteReply(const Answer& answer, Http1Option connection, bool to_head) {
  HeadEdits edits;
  const bool written = edits.Read(answer.Bytes(1));
  const int status = written ? answer.status() : 500;
  const std::string_view body = written ? answer.Text(0) : "internal error";
  if (!body.empty()) edits.Add(kPlainText);
  down_.WriteReply({static_cast<uint16_t>(status), connection, to_head, edits.pairs(), edits.count(), body});
  status_ = status;
}

void Http1Session::AnswerLast(uint16_t status, std::string_view body) {
  WriteAnswer(status, Http1Option::kClose, exchange_.answers_head(), body);
  exchange_.Close();
  Close();
}

void Http1Session::WriteAnswer(uint16_t status, Http1Option connection, bool to_head, std::string_view body) {
  HeadEdits edits;
  if (route_) edits.ReadSharing(route_->response_edits);
  edits.Add(kPlainText);
  down_.WriteReply({status, connection, to_head, edits.pairs(), edits.count(), body});
}

}  // namespace orlop
