// 10, 11 · data thread · one TLS 1.3 session over memory: it reads records from the turn's buffer and writes records into it.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/events.h"
#include "engine/core/scratch.h"
#include "engine/records/record_layer.h"
#include "engine/tunnel/identities.h"
#include "engine/tunnel/tls_alert.h"

namespace orlop {

class TlsSession {
 public:
  // kDone of Read: there may be more.
  enum class Step { kDone, kWant, kFailed };
  using Plain = RecordLayer::Plain;

  // Sessions that are opened afterwards protect their records themselves when their handshake is over, or OpenSSL goes on to. At first
  // OpenSSL does. The number of tunnels whose secrets have room is that of the first call with `own`. 0 or an errno: SecretArena::Open.
  static int UseOwnRecords(bool own, size_t tunnels = kMostTunnels);
  static constexpr size_t kMostTunnels = 16 * 1024;

  ~TlsSession();
  // The session holds a reference to `context`. False: out of memory.
  bool Open(SSL_CTX* context, Role role, Scratch* scratch);
  // Records to be read next, at most Scratch::kRecords bytes. They stay where they are until the next call, and are changed.
  void Feed(uint8_t* bytes, size_t length);
  Step Handshake();
  // After the handshake: what was fed and not yet read.
  std::vector<uint8_t> TakeRest();
  // Opens a record or several, up to a message of TLS itself. *plain lies where it is until the next Feed. kWant: no whole record is left;
  // what TakeRest gives is the begin of the next.
  Step Read(Plain* plain);
  // Seals what is in the room: where it lies, or into scratch->cipher_out. False: nothing of it may be sent.
  bool Write(PartedRoom* room);
  // Write seals where the bytes lie, and needs gaps for that.
  bool SealsInPlace() const { return records_ != nullptr; }
  // A close_notify, into cipher_out.
  void Shutdown();
  // The verdict about the peer's identity, once, before anything is written. Refuse: the alert certificate_unknown, into cipher_out; nothing
  // can be read or sealed any more.
  void Welcome() { alert_secret_.Forget(); }
  void Refuse();
  // Sessions of `context` can be refused, and can protect their records themselves.
  static void KeepSecrets(SSL_CTX* context);
  bool opened() const { return ssl_ != nullptr || records_; }
  // After the handshake.
  bool AlpnIsH2() const { return alpn_is_h2_; }
  std::vector<uint8_t> PeerLeaf() const;
  // Of the peer, after the handshake.
  const VerifiedChain& verified() const { return verified_; }
  // False: a handshake would refuse the peer's chain under the roots of this moment.
  bool PeerIsTrusted() { return IsPeerTrusted(sent_.get(), role_, &verified_); }
  // Why Handshake or Read failed.
  HandshakeFailure failure() const { return failure_; }
  const std::string& message() const { return message_; }
  int alert() const { return alert_; }
  bool peer_closed() const { return peer_closed_; }
  // Key updates and other messages of TLS itself that the peer has sent since the last call.
  uint32_t TakeMessages() { return std::exchange(messages_, 0); }

 private:
  static void OnKeyLine(const SSL* ssl, const char* line);
  static int BioRead(BIO* bio, char* out, int length);
  static int BioWrite(BIO* bio, const char* bytes, int length);
  static long BioControl(BIO* bio, int command, long number, void* pointer);
  static BIO_METHOD* Method();
  static void OnMessage(int sent, int version, int type, const void* bytes, size_t length, SSL* ssl,
                        void* self);
  void OnSecret(std::string_view line);
  bool NoteHandshake();
  bool TakeOver();
  Step ReadOwn(Plain* plain);
  void Explain();
  SSL* ssl_ = nullptr;  // null when records_ has taken over
  bool own_ = false;
  EarlySecrets early_;  // until records_ takes over
  std::unique_ptr<RecordLayer> records_;
  bool alpn_is_h2_ = false;
  SentChain sent_;
  AlertSecret alert_secret_;
  Role role_ = Role::kServer;
  Scratch* scratch_ = nullptr;
  uint8_t* in_ = nullptr;
  size_t in_length_ = 0;
  size_t opened_ = 0;  // bytes that OpenSSL has put into plain_in since the last Feed
  HandshakeFailure failure_ = HandshakeFailure::kProtocol;
  std::string message_;
  int alert_ = 0;
  bool peer_closed_ = false;
  uint32_t messages_ = 0;
  VerifiedChain verified_;
};

}  // namespace orlop
