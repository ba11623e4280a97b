// data thread · what each pod may have: counting, and what ends when it is too much.
#include "engine/core/pod_shares.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace orlop {
namespace {

// A queue that holds a byte holds a chunk; behind a small chunk come large ones.
size_t InChunks(size_t bytes) {
  if (bytes == 0) return 0;
  if (bytes <= Chunk::kSmallSize) return Chunk::kSmallBytes;
  return (bytes + Chunk::kSize - 1) / Chunk::kSize * Chunk::kBytes;
}

// So many accounts of pods without a connection are kept because they owe something. With more, those that have paid are dropped.
constexpr size_t kMostUnused = 64;

}  // namespace

PodAccount& PodShares::AccountOf(uint32_t pod_idx) {
  std::unique_ptr<PodAccount>& account = accounts_[pod_idx];
  if (account) return *account;
  account = std::make_unique<PodAccount>();
  account->pod_idx = pod_idx;
  return *account;
}

PodAccount& PodShares::AccountOfNext(uint32_t pod_idx) {
  PodAccount& account = AccountOf(pod_idx);
  if (account.shares++ == 0) in_use_++;
  return account;
}

void PodShares::Begin(PodShare* share, uint32_t pod_idx) {
  PodAccount& account = AccountOfNext(pod_idx);
  counted_++;
  share->account_ = &account;
  const bool beyond = account.shares - account.carried > limits_.open;
  PodShare* const longest = beyond ? account.silent.First() : nullptr;
  account.silent.PushBack(share);
  if (longest) Shed(longest, CloseCause::kHttpSilent);
}

void PodShares::Carry(PodShare* share, uint32_t pod_idx) {
  PodAccount& account = AccountOfNext(pod_idx);
  account.carried++;
  share->account_ = &account;
  share->carried_ = true;
}

bool PodShares::Open(PodShare* share, size_t head_bytes) {
  PodAccount& account = *share->account_;
  bool has_room = account.open < limits_.open;
  if (account.heads - share->heads_ + head_bytes > limits_.heads) {
    const PodShare* const largest = account.by_heads.Largest();
    has_room = has_room && largest && largest->heads_class_ > account.by_heads.ClassOf(head_bytes);
  }
  if (!has_room) {
    stats_.shed++;
    return false;
  }
  share->open_ = true;
  account.open++;
  share->Hook<BySilence>::Remove();
  return true;
}

int32_t PodShares::Share() const {
  const bool alone = in_use_ == 1 && stats_.connections <= counted_;
  return alone ? kShareAlone : kShareAmongOthers;
}

bool PodShares::MayRead(PodShare* share) {
  if (!share->account_) return true;
  turns_.SetShare(Share());
  if (turns_.Ask(&share->account_->queue, &share->read_, 1, turn_.number())) return true;
  turn_.Again(this);
  return false;
}

void PodShares::Spend(PodShare* share, uint32_t work) {
  const auto units = static_cast<int32_t>(work / kWorkPerUnit);
  if (!share->account_ || units == 0) return;
  turns_.SetShare(Share());
  turns_.Spend(&share->account_->queue, units, turn_.number());
}

void PodShares::SpendTime(uint32_t pod_idx, uint32_t us) {
  const auto units = static_cast<int32_t>(us / kUsPerUnit);
  PodAccount& account = AccountOf(pod_idx);
  turns_.SetShare(Share());
  // The pod has paid the expected part when its request began.
  turns_.Spend(&account.queue, std::max(units - account.verdict_units, 0), turn_.number());
  account.verdict_units = std::max(account.verdict_units, std::min(units, kShareAlone));
}

int32_t PodShares::MayCome(uint32_t pod_idx, int32_t most) {
  const auto found = accounts_.find(pod_idx);
  if (found == accounts_.end()) return most;
  const int32_t share = Share();
  turns_.SetShare(share);
  if (turns_.Owes(&found->second->queue, turn_.number())) return 0;
  const int32_t verdict = found->second->verdict_units;
  return verdict == 0 ? most : std::clamp(share / verdict, 1, most);
}

void PodShares::Came(uint32_t pod_idx, uint32_t count) {
  const auto found = accounts_.find(pod_idx);
  if (found == accounts_.end()) return;
  for (PodAccount& account = *found->second; count > 0 && account.verdict_units > 0; count--)
    account.ExpectVerdict();
}

bool PodShares::MayGo(PodShare* share, size_t head_bytes) {
  const int32_t most = Share();
  const auto beyond = static_cast<int32_t>(head_bytes / kHeadBytesPerUnit);
  turns_.SetShare(most);
  const int32_t cost = std::max(1 + beyond, share->account_->ExpectVerdict());
  if (turns_.Ask(&share->account_->queue, &share->go_, std::min(cost, most), turn_.number())) return true;
  turn_.Again(this);
  return false;
}

void PodShares::Close(PodShare* share) {
  if (!share->open_) return;
  share->open_ = false;
  share->account_->open--;
  share->go_.Remove();
  share->account_->silent.PushBack(share);
}

void PodShares::Holds(PodShare* share, size_t heads, size_t queued) {
  if (!share->account_) return;
  const size_t bytes = heads + InChunks(queued);
  PodAccount& account = *share->account_;
  if (heads != share->heads_) {
    account.heads += heads - share->heads_;
    share->heads_ = heads;
    const uint8_t size_class = account.by_heads.ClassOf(heads);
    if (size_class != share->heads_class_) account.by_heads.Put(share, size_class);
    share->heads_class_ = size_class;
  }
  if (bytes != share->bytes_) {
    account.bytes += bytes - share->bytes_;
    share->bytes_ = bytes;
    const uint8_t size_class = account.by_bytes.ClassOf(bytes);
    if (size_class != share->bytes_class_) account.by_bytes.Put(share, size_class);
    share->bytes_class_ = size_class;
  }
  if (account.heads <= limits_.heads) return;
  heavy_ = true;
  turn_.Again(this);
}

void PodShares::Uncount(PodShare* share) {
  PodAccount& account = *share->account_;
  account.heads -= std::exchange(share->heads_, 0);
  account.bytes -= std::exchange(share->bytes_, 0);
  share->heads_class_ = share->bytes_class_ = 0;
  share->Hook<ByHeads>::Remove();
  share->Hook<ByBytes>::Remove();
}

void PodShares::End(PodShare* share) {
  if (!share->account_) return;
  Uncount(share);
  share->go_.Remove();
  share->read_.Remove();
  share->Hook<BySilence>::Remove();
  PodAccount& account = *std::exchange(share->account_, nullptr);
  std::exchange(share->carried_, false) ? account.carried-- : counted_--;
  if (std::exchange(share->open_, false)) account.open--;
  if (--account.shares > 0) return;
  in_use_--;
  // A pod that owes keeps its account, so that it still owes when it comes back with another connection.
  turns_.SetShare(Share());
  if (turns_.Owes(&account.queue, turn_.number())) return DropPaid();
  Drop(accounts_.find(account.pod_idx));
}

void PodShares::DropPaid() {
  if (accounts_.size() < in_use_ + kMostUnused) return;
  for (auto each = accounts_.begin(); each != accounts_.end();) {
    PodAccount& account = *each->second;
    const bool stays = account.shares > 0 || turns_.Owes(&account.queue, turn_.number());
    each = stays ? std::next(each) : Drop(each);
  }
}

PodShares::Accounts::iterator PodShares::Drop(Accounts::iterator account) {
  // Callers up the stack may be walking over its lists.
  turn_.Bury(account->second.release());
  return accounts_.erase(account);
}

void PodShares::Shed(PodShare* share, CloseCause cause) {
  // Out of the lists first: OnShed may lead to another Shed, which must not find this share again.
  Uncount(share);
  share->Hook<BySilence>::Remove();
  stats_.shed++;
  share->OnShed(cause);
}

void PodShares::OnAgain() {
  turns_.SetShare(Share());
  turns_.Run(turn_.number());
  if (!turns_.empty()) turn_.Again(this);
  if (!std::exchange(heavy_, false)) return;
  std::vector<PodAccount*> heavy;
  for (const auto& [pod_idx, account] : accounts_) {
    if (account->heads > limits_.heads) heavy.push_back(account.get());
  }
  for (PodAccount* account : heavy) {
    while (account->heads > limits_.heads) {
      PodShare* const largest = account->by_heads.Largest();
      if (!largest) break;
      Shed(largest, CloseCause::kShed);
    }
  }
}

void PodShares::Relieve() {
  std::vector<PodAccount*> greedy;  // four at most
  for (const auto& [pod_idx, account] : accounts_) {
    if (account->bytes > buffers_.pods_part()) greedy.push_back(account.get());
  }
  for (PodAccount* account : greedy) {
    while (buffers_.Overloaded() && account->bytes > buffers_.pods_part()) {
      PodShare* const largest = account->by_bytes.Largest();
      if (!largest) break;
      Shed(largest, CloseCause::kShed);
    }
  }
}

}  // namespace orlop
