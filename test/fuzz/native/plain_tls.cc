// fuzz · in place of tls_session.cc and identities.cc: a session that seals nothing, so that mutations reach
// HTTP/2. One byte is the whole handshake.
#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/tunnel/identities.h"
#include "engine/tunnel/tls_session.h"

namespace orlop {

TlsSession::~TlsSession() = default;

bool TlsSession::Open(SSL_CTX*, Role, Scratch* scratch) {
  scratch_ = scratch;
  alpn_is_h2_ = true;
  verified_.until = std::numeric_limits<int64_t>::max();
  return true;
}

void TlsSession::Feed(uint8_t* bytes, size_t length) {
  in_ = bytes;
  in_length_ = length;
}

TlsSession::Step TlsSession::Handshake() {
  if (in_length_ == 0) return Step::kWant;
  in_++;
  in_length_--;
  return Step::kDone;
}

std::vector<uint8_t> TlsSession::TakeRest() {
  std::vector<uint8_t> rest(in_, in_ + in_length_);
  in_length_ = 0;
  return rest;
}

// In parts, as records have them.
TlsSession::Step TlsSession::Read(Plain* plain) {
  constexpr size_t kPart = 4'096;
  *plain = {in_, std::min(in_length_, kPart)};
  in_ += plain->length;
  in_length_ -= plain->length;
  return in_length_ > 0 ? Step::kDone : Step::kWant;
}

bool TlsSession::Write(PartedRoom* room) {
  const iovec all{scratch_->cipher_out + scratch_->cipher_length, room->length()};
  scratch_->cipher_length += CopyPieces(room->Whole(), {&all, 1, room->length()});
  return true;
}

void TlsSession::Shutdown() {}

void TlsSession::Refuse() {}

std::vector<uint8_t> TlsSession::PeerLeaf() const {
  return {0x30, 0x00};
}

bool IsPeerTrusted(STACK_OF(X509) *, Role, VerifiedChain*) {
  return true;
}

Context BorrowContext(int32_t, Role) {
  static SSL_CTX* const context = SSL_CTX_new(TLS_method());
  SSL_CTX_up_ref(context);
  return Context(context);
}

}  // namespace orlop
