// 22 · data thread · a copy of a request under way: its time, and how its head differs from the request's.
#include "engine/origin/mirror_exchange.h"

#include <utility>

#include "engine/http/head_edits.h"
#include "engine/origin/mirrors.h"

namespace orlop {
namespace {

// For the connection, the request and the response.
constexpr uint64_t kExchangeMs = 15'000;

}  // namespace

MirrorExchange::MirrorExchange(const EngineServices& services, Mirrors& mirrors,
                               std::shared_ptr<const MirroredRequest> request, MirrorTarget target)
    : services_(services),
      mirrors_(mirrors),
      request_(std::move(request)),
      target_(std::move(target)),
      pod_idx_(request_->pod_idx),
      deadline_([](void* self) { static_cast<MirrorExchange*>(self)->Stop(MirrorEnd::kTimeout); }, this) {}

void MirrorExchange::Start() {
  started_ = true;
  services_.timers.Start(&deadline_, kExchangeMs);
  Go();
}

void MirrorExchange::Finish(MirrorEnd end) {
  if (over()) return;
  request_.reset();
  deadline_.Cancel();
  mirrors_.Ended(*this, end);
  services_.turn.Bury(this);
}

Http1Edit MirrorExchange::EditOf(const Http1Head& head, HeadEdits* edits) const {
  Http1Edit edit = UnchangedEdit(head);
  // The body is at hand, so its length is known. Trailers of the request are not copied; those of its response are asked for as it asks, since
  // servers of gRPC refuse what does not.
  if (head.framing != Http1Framing::kNone) {
    edit.framing = Http1Framing::kLength;
    edit.content_length = request_->body.size();
  }
  edit.connection = Http1Option::kNone;
  edit.keep_alive = false;
  edit.without_envoys = target_.without_proxy_headers;
  const std::string_view target = target_.target;
  if (!target.empty()) edit.path = target.substr(0, target.find('?'));
  if (!target_.authority.empty()) edit.authority = target_.authority;
  edits->Read(target_.edits);
  edit.pairs = edits->pairs();
  edit.pair_count = edits->count();
  return edit;
}

}  // namespace orlop
