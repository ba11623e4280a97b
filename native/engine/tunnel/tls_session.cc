// 10, 11 · data thread · the handshake, by the OpenSSL that Node exports, and the records by either layer. This file knows no descriptor.
#include "engine/tunnel/tls_session.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engine/records/key_line.h"
#include "engine/tunnel/wiped_free.h"

namespace orlop {
namespace {

std::atomic<bool> own_records{false};

HandshakeFailure OfVerifyResult(long result) {
  switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return HandshakeFailure::kExpired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return HandshakeFailure::kNotYetValid;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      return HandshakeFailure::kUnknownIssuer;
    case X509_V_ERR_INVALID_PURPOSE:
      return HandshakeFailure::kWrongUsage;
    default:
      return HandshakeFailure::kBadCertificate;
  }
}

}  // namespace

BIO_METHOD* TlsSession::Method() {
  // One per process, never freed: sessions of every thread point to it.
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "orlop turn buffer");
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

int TlsSession::BioRead(BIO* bio, char* out, int length) {
  auto* self = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self->in_length_ == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t part = std::min<size_t>(self->in_length_, static_cast<size_t>(length));
  memcpy(out, self->in_, part);
  self->in_ += part;
  self->in_length_ -= part;
  return static_cast<int>(part);
}

int TlsSession::BioWrite(BIO* bio, const char* bytes, int length) {
  auto* self = static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  Scratch& scratch = *self->scratch_;
  // The buffer is large enough for whatever a turn makes; if it were not, the session would fail and not the process.
  if (scratch.cipher_length + static_cast<size_t>(length) > sizeof scratch.cipher_out) return -1;
  memcpy(scratch.cipher_out + scratch.cipher_length, bytes, static_cast<size_t>(length));
  scratch.cipher_length += static_cast<size_t>(length);
  return length;
}

long TlsSession::BioControl(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int TlsSession::UseOwnRecords(bool own, size_t tunnels) {
  const int error = own ? SecretArena::TheArena().Open(tunnels) : 0;
  own_records = own && error == 0;
  return error;
}

TlsSession::~TlsSession() {
  FreeWiped(ssl_);
}

bool TlsSession::Open(SSL_CTX* context, Role role, Scratch* scratch) {
  scratch_ = scratch;
  own_ = own_records;
  ssl_ = SSL_new(context);
  BIO* bio = ssl_ ? BIO_new(Method()) : nullptr;
  if (!bio) return false;
  role_ = role;
  KeepVerifiedChain(ssl_, &verified_);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  // A read returns behind each message that is no payload, so that a flood of them does not hold the thread.
  SSL_clear_mode(ssl_, SSL_MODE_AUTO_RETRY);
  SSL_set_msg_callback(ssl_, OnMessage);
  SSL_set_msg_callback_arg(ssl_, this);
  if (role == Role::kServer) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
  }
  return true;
}

void TlsSession::KeepSecrets(SSL_CTX* context) {
  SSL_CTX_set_keylog_callback(context, OnKeyLine);
}

void TlsSession::OnKeyLine(const SSL* ssl, const char* line) {
  static_cast<TlsSession*>(BIO_get_data(SSL_get_rbio(ssl)))->OnSecret(line);
}

void TlsSession::OnSecret(std::string_view line) {
  const bool server = role_ == Role::kServer;
  if (!own_) return alert_secret_.Take(line, server);
  const KeySide side = SideOfKeyLine(line);
  if (side == KeySide::kOther) return;
  if (!early_) early_.reset(new TunnelSecrets{});
  TrafficSecret& secret = (side == KeySide::kServer) == server ? early_->write : early_->read;
  secret.length = static_cast<uint32_t>(SecretOfKeyLine(line, secret.bytes, sizeof secret.bytes));
}

// What is asked about the handshake later.
bool TlsSession::NoteHandshake() {
  const uint8_t* name = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &name, &length);
  alpn_is_h2_ = length == 2 && memcmp(name, "h2", 2) == 0;
  sent_ = SentBy(ssl_);
  if (sent_) return true;
  message_ = "the peer's certificates cannot be kept";
  return false;
}

// OpenSSL has read no further than the peer's Finished, since it reads no record before it needs it: what follows is in in_.
bool TlsSession::TakeOver() {
  const std::optional<CipherSuite> suite = SuiteOf(ssl_);
  message_ = "there is no room for the secrets of another tunnel";
  SecretArena::Share secrets = SecretArena::TheArena().Take();
  if (!secrets) return false;
  message_ = "the records cannot be taken over";
  if (!suite || !early_ || SSL_has_pending(ssl_) != 0) return false;
  *secrets = *early_;
  early_.reset();
  auto records = std::make_unique<RecordLayer>();
  if (!records->Start(*suite, role_ == Role::kServer, std::move(secrets), scratch_)) return false;
  records_ = std::move(records);
  FreeWiped(std::exchange(ssl_, nullptr));
  message_.clear();
  return true;
}

void TlsSession::Refuse() {
  if (records_) return records_->Alert(SSL_AD_CERTIFICATE_UNKNOWN);
  uint8_t record[AlertSecret::kRecord];
  const size_t length = alert_secret_.Seal(ssl_, SSL_AD_CERTIFICATE_UNKNOWN, record);
  // OpenSSL would seal its own first record with the same key and number.
  FreeWiped(std::exchange(ssl_, nullptr));
  Scratch& scratch = *scratch_;
  if (scratch.cipher_length + length > sizeof scratch.cipher_out) return;
  memcpy(scratch.cipher_out + scratch.cipher_length, record, length);
  scratch.cipher_length += length;
}

void TlsSession::Feed(uint8_t* bytes, size_t length) {
  in_ = bytes;
  in_length_ = length;
  opened_ = 0;
}

TlsSession::Step TlsSession::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) return NoteHandshake() && (!own_ || TakeOver()) ? Step::kDone : Step::kFailed;
  if (SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) return Step::kWant;
  Explain();
  return Step::kFailed;
}

std::vector<uint8_t> TlsSession::TakeRest() {
  std::vector<uint8_t> rest(in_, in_ + in_length_);
  in_length_ = 0;
  return rest;
}

TlsSession::Step TlsSession::ReadOwn(Plain* plain) {
  const RecordLayer::Step step = records_->Read(&in_, &in_length_, plain);
  messages_ += records_->TakeMessages();
  if (step == RecordLayer::Step::kDone) return Step::kDone;
  if (step == RecordLayer::Step::kWant) return Step::kWant;
  peer_closed_ = records_->peer_closed();
  alert_ = records_->received_alert();
  message_ = alert_ != 0 ? std::string("the peer sent the alert ") + records_->reason() : records_->reason();
  return Step::kFailed;
}

TlsSession::Step TlsSession::Read(Plain* plain) {
  if (records_) return ReadOwn(plain);
  ERR_clear_error();
  uint8_t* const out = scratch_->plain_in;
  *plain = {out + opened_, 0};
  // All that was fed has room, and the record before it, of which OpenSSL had the begin.
  while (opened_ < sizeof scratch_->plain_in) {
    size_t part = 0;
    if (SSL_read_ex(ssl_, out + opened_, sizeof scratch_->plain_in - opened_, &part) == 1) {
      opened_ += part;
      plain->length += part;
      continue;
    }
    const int error = SSL_get_error(ssl_, 0);
    if (error == SSL_ERROR_WANT_READ) return in_length_ == 0 ? Step::kWant : Step::kDone;
    if (error == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
      message_ = "the peer closed the TLS session";
      return Step::kFailed;
    }
    Explain();
    return Step::kFailed;
  }
  message_ = "more was opened than was read";
  return Step::kFailed;
}

bool TlsSession::Write(PartedRoom* room) {
  if (records_) {
    if (records_->Write(room)) return true;
    // Nothing is sealed behind an alert of either end, which is then the reason.
    if (message_.empty()) message_ = "a record cannot be sealed";
    return false;
  }
  ERR_clear_error();
  // A call for each piece costs a twentieth of the CPU per byte: a room without gaps is a single piece.
  const Pieces pieces = room->Whole();
  for (int i = 0; i < pieces.count; i++) {
    const iovec& piece = pieces.list[i];
    size_t written = 0;
    if (SSL_write_ex(ssl_, piece.iov_base, piece.iov_len, &written) == 1 && written == piece.iov_len)
      continue;
    Explain();
    return false;
  }
  return true;
}

void TlsSession::Shutdown() {
  if (records_) return records_->Close();
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

std::vector<uint8_t> TlsSession::PeerLeaf() const {
  std::vector<uint8_t> der;
  X509* leaf = sk_X509_value(sent_.get(), 0);
  const int length = leaf ? i2d_X509(leaf, nullptr) : 0;
  if (length <= 0) return der;
  der.resize(static_cast<size_t>(length));
  uint8_t* cursor = der.data();
  i2d_X509(leaf, &cursor);
  return der;
}

void TlsSession::OnMessage(int sent, int, int type, const void*, size_t, SSL*, void* self) {
  if (!sent && type == SSL3_RT_HANDSHAKE) static_cast<TlsSession*>(self)->messages_++;
}

void TlsSession::Explain() {
  const unsigned long error = ERR_peek_last_error();
  const long verify = SSL_get_verify_result(ssl_);
  const int reason = ERR_GET_REASON(error);
  char text[160] = "the TLS session failed";
  if (error) ERR_error_string_n(error, text, sizeof text);
  message_ = text;
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
      reason < SSL_AD_REASON_OFFSET + 256) {
    alert_ = reason - SSL_AD_REASON_OFFSET;  // what the peer sent
  }
  if (verify != X509_V_OK) {
    failure_ = OfVerifyResult(verify);
    message_ = X509_verify_cert_error_string(verify);
  } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    failure_ = HandshakeFailure::kNoCertificate;
  } else if (reason == SSL_R_NO_APPLICATION_PROTOCOL) {
    failure_ = HandshakeFailure::kNoAlpn;
  } else {
    failure_ = HandshakeFailure::kProtocol;
  }
  ERR_clear_error();
}

}  // namespace orlop
