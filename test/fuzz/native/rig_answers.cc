// fuzz · the answers of a rig: what the input makes of each event of the engine, at once, late or never; and that each event fits to those
// before it.
#include <cstring>
#include <vector>

#include "rig.h"
#include "rig_arena.h"

namespace orlop::fuzz {

int32_t Rig::Answer(uint32_t events) {
  int32_t answers = 0;
  for (uint32_t i = 0; i < events; i++) {
    orlop_engine_event event;
    memcpy(&event, Arena() + ORLOP_ARENA_EVENTS + i * sizeof event, sizeof event);
    for (const orlop_span& text : event.text) {
      if (text.offset + text.length > ORLOP_ARENA_EVENT_TEXT_SIZE) Wrong("a text outside the arena");
    }
    const uint64_t key = KeyOf(event.conn, event.generation);
    const auto found = std::find(alive_.begin(), alive_.end(), key);
    switch (event.type) {
      case ORLOP_ENGINE_POOL_LOW:
        Refill(event);
        continue;
      case ORLOP_ENGINE_HANDSHAKE_FAILED:
      case ORLOP_ENGINE_TUNNEL_ABUSED:
        continue;
      case ORLOP_ENGINE_MIRROR_ENDED:
        if (copies_-- == 0) Wrong("a copy that nobody has asked for, or that has ended twice");
        if (event.kind >= kMirrorEnds) Wrong("no end of a copy");
        continue;
      case ORLOP_ENGINE_PEER_CERTIFICATE:
        break;
      case ORLOP_ENGINE_ACCEPTED:
      case ORLOP_ENGINE_CONNECT_REQUEST:
        if (found != alive_.end()) Wrong("one connection was reported twice");
        alive_.push_back(key);
        break;
      case ORLOP_ENGINE_ESTABLISHED:
        if (found == alive_.end()) Wrong("established, and nobody knows it");
        continue;
      case ORLOP_ENGINE_NOT_REACHED:
        if (found == alive_.end()) Wrong("not reached, and nobody knows it");
        break;
      case ORLOP_ENGINE_REQUEST:
        if (found == alive_.end()) Wrong("a request on no connection");
        // Asked again it has the same number; a websocket is asked about after its request has ended.
        if (event.expect <= 0) Wrong("a request without a number");
        requests_[key].insert(event.expect);
        if (event.kind == static_cast<uint32_t>(HttpProtocol::kHttp1) && requests_[key].size() > 1)
          Wrong("two requests at once");
        break;
      case ORLOP_ENGINE_TRY_FAILED:
        if (requests_[key].count(event.expect) == 0) Wrong("a try of no request");
        break;
      case ORLOP_ENGINE_REQUEST_ENDED:
        if (found == alive_.end()) Wrong("the end of a request on no connection");
        // What was refused before anybody was asked has no beginning.
        requests_[key].erase(event.expect);
        continue;
      case ORLOP_ENGINE_OPAQUE:
        if (found == alive_.end() || !requests_[key].empty()) Wrong("no HTTP, with a request");
        continue;
      case ORLOP_ENGINE_CLOSED:
        if (found == alive_.end()) Wrong("a second end of one connection");
        if (!requests_[key].empty() && !asked_again_) Wrong("the connection ended before its request");
        requests_.erase(key);
        alive_.erase(found);
        continue;
      default:
        Wrong("an event without a name");
    }
    orlop_engine_answer answer{};
    const uint8_t choice = NextChoice();
    if (!Choose(event, choice, &answer)) {
      asked_.push_back({event.type, event.conn, event.generation, event.expect});
      continue;
    }
    if (event.type == ORLOP_ENGINE_REQUEST) Mirror(answer, choice);
    memcpy(Arena() + ORLOP_ARENA_ANSWERS + static_cast<size_t>(answers) * sizeof answer, &answer,
           sizeof answer);
    answers++;
  }
  return answers;
}

// False: the answer comes late, or never.
bool Rig::Choose(const orlop_engine_event& event, uint8_t choice, orlop_engine_answer* answer) {
  answer->conn = event.conn;
  answer->generation = event.generation;
  answer->pod_idx = kPod;
  answer->to = SomeEndpoint();
  if (event.type == ORLOP_ENGINE_PEER_CERTIFICATE) {
    if (choice % 16 == 15) return false;
    answer->type = choice % 16 == 14 ? ORLOP_ANSWER_REJECT_PEER : ORLOP_ANSWER_PEER;
    answer->identity = 7;
    return true;
  }
  if (event.type == ORLOP_ENGINE_REQUEST) {
    answer->expect = event.expect;
    if (choice % 8 == 7) return false;
    answer->type = choice % 8 == 6   ? (choice < 128 ? ORLOP_ANSWER_CLOSE : ORLOP_ANSWER_RESET)
                   : choice % 8 == 5 ? ORLOP_ANSWER_REPLY
                                     : ORLOP_ANSWER_FORWARD;
    answer->status = 403;
    if (choice % 8 > 3) SetText(answer, 0, 0, "/another?a=b");
    // Of a connection that is served.
    answer->pod_idx = choice / 16 % 3 + 1;
    if (choice < 64) answer->identity = 40;
    if (choice / 8 % 4 > 0)
      answer->requests = choice / 8 % 4 == 1 ? ORLOP_FORWARD_ASKS_UNSENT : ORLOP_FORWARD_ASKS_ANY;
    return true;
  }
  if (event.type == ORLOP_ENGINE_TRY_FAILED) {
    answer->expect = event.expect;
    if (choice % 8 == 7) return false;
    answer->type = choice % 8 == 6   ? ORLOP_ANSWER_HOLD
                   : choice % 8 == 5 ? ORLOP_ANSWER_REPLY
                   : choice % 8 == 4 ? ORLOP_ANSWER_PASS
                                     : ORLOP_ANSWER_FORWARD;
    answer->status = choice % 8 == 5 ? 502 : choice % 8 == 6 ? 20 : 0;
    answer->pod_idx = choice / 16 % 3 + 1;
    answer->requests = ORLOP_FORWARD_ASKS_ANY;
    return true;
  }
  const bool request = event.type == ORLOP_ENGINE_CONNECT_REQUEST;
  if (choice >= 192 && choice % 8 == 4) {
    answer->type = ORLOP_ANSWER_SERVE;
    return true;
  }
  // The connection is read, whichever way it came.
  if (choice >= 128 && choice % 8 < 4) {
    answer->type = ORLOP_ANSWER_DIAL;
    answer->requests = static_cast<uint32_t>(choice % 8 == 3 ? HttpReading::kOrPass : HttpReading::kOrEnd);
    SetText(answer, 1, 64, "k8s.namespace.name=fuzz");
    return true;
  }
  switch (choice % 8) {
    case 7:
      return false;
    case 6:
      answer->type = ORLOP_ANSWER_REFUSE;
      answer->status = 403;
      return true;
    case 5:
      answer->type = ORLOP_ANSWER_CLOSE;
      return true;
    case 4:
      answer->type = request ? ORLOP_ANSWER_TUNNEL : ORLOP_ANSWER_RELAY;
      return true;
    default:
      answer->type = request ? ORLOP_ANSWER_DIAL : ORLOP_ANSWER_TUNNEL;
      if (!request && choice >= 64) answer->requests = ORLOP_REPORTS_NOT_REACHED;
      SetText(answer, 0, 0, "10.0.0.9:80");
      SetText(answer, 1, 64, "k8s.namespace.name=fuzz");
      return true;
  }
}

// As TypeScript does inside of its handler: copies first, then the request.
void Rig::Mirror(const orlop_engine_answer& forward, uint8_t choice) {
  if (forward.type != ORLOP_ANSWER_FORWARD || choice < 128) return;
  for (uint32_t nth = 0; nth <= choice % 2u; nth++) {
    orlop_engine_answer copy = forward;
    copy.type = ORLOP_ANSWER_MIRROR;
    copy.status = copy.identity = 0;
    copy.pod_idx = choice / 4 % 3 + 1;
    copies_++;
    memcpy(Arena() + ORLOP_ARENA_LATE_ANSWER, &copy, sizeof copy);
    engine_->Submit();
  }
}

void Rig::AnswerLate(uint8_t choice) {
  if (asked_.empty()) {
    if (alive_.empty()) return;
    orlop_engine_answer again{};
    again.type = ORLOP_ANSWER_ASK_AGAIN;
    const uint64_t key = alive_[choice % alive_.size()];
    again.conn = static_cast<uint32_t>(key >> 32);
    again.generation = static_cast<uint32_t>(key);
    asked_again_ = true;
    memcpy(Arena() + ORLOP_ARENA_LATE_ANSWER, &again, sizeof again);
    engine_->Submit();
    return;
  }
  const Asked asked = asked_.front();
  asked_.erase(asked_.begin());
  orlop_engine_event event{};
  event.type = asked.type;
  event.conn = asked.conn;
  event.generation = asked.generation;
  event.expect = asked.request;
  orlop_engine_answer answer{};
  if (!Choose(event, choice, &answer)) return;
  if (event.type == ORLOP_ENGINE_REQUEST) Mirror(answer, choice);
  memcpy(Arena() + ORLOP_ARENA_LATE_ANSWER, &answer, sizeof answer);
  engine_->Submit();
}

void Rig::Refill(const orlop_engine_event& event) {
  for (int i = 0; i < 2 && far_ends_.size() < kMostFarEnds && pod_here_; i++) {
    int near = -1;
    FarEnd(&near);
    engine_->AddSocket(event.pod_idx, static_cast<SocketKind>(event.kind), Descriptor(near));
  }
}

}  // namespace orlop::fuzz
