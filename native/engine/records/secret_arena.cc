// 10, 11 · any thread · the mapping of the secrets, and which of its slots are free.
#include "engine/records/secret_arena.h"

#include <openssl/crypto.h>
#include <sys/mman.h>

#include <cerrno>

namespace orlop {

void WipedSecrets::operator()(TunnelSecrets* secrets) const {
  OPENSSL_cleanse(secrets, sizeof *secrets);
  delete secrets;
}

SecretArena& SecretArena::TheArena() {
  static auto* const arena = new SecretArena;
  return *arena;
}

int SecretArena::Open(size_t tunnels) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (slots_) return 0;
  const size_t size = tunnels * sizeof(TunnelSecrets);
  void* const mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return errno;
  if (mlock(mapped, size) != 0 || madvise(mapped, size, MADV_DONTDUMP) != 0) {
    const int error = errno;
    munmap(mapped, size);
    return error;
  }
  slots_ = static_cast<TunnelSecrets*>(mapped);
  free_.reserve(tunnels);
  for (size_t i = tunnels; i > 0; i--) free_.push_back(static_cast<uint32_t>(i - 1));
  return 0;
}

SecretArena::Share SecretArena::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (free_.empty()) return nullptr;
  TunnelSecrets* const slot = slots_ + free_.back();
  free_.pop_back();
  return Share(slot);
}

void SecretArena::Give(TunnelSecrets* secrets) {
  OPENSSL_cleanse(secrets, sizeof *secrets);
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(static_cast<uint32_t>(secrets - slots_));
}

size_t SecretArena::free() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return free_.size();
}

}  // namespace orlop
