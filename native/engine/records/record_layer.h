// 10, 11 · data thread · TLS 1.3 behind a finished handshake (RFC 8446 5): records are opened and sealed, keys updated, alerts given and
// taken. docs/reference/records.md has the whole of it. Every other header of this folder is a part of this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/core/scratch.h"
#include "engine/records/post_handshake.h"
#include "engine/records/record_cipher.h"
#include "engine/records/secret_arena.h"

namespace orlop {

class RecordLayer {
 public:
  // kDone of Read: a record was read. kWant: no whole record is left.
  enum class Step { kDone, kWant, kFailed };
  struct Plain {
    const uint8_t* begin = nullptr;
    size_t length = 0;
  };
  // A key seals and opens fewer than this (RFC 8446 5.5 names 2^24.5 of full records of AES-GCM).
  static constexpr uint64_t kRecordsPerKey = 1 << 24;

  // `secrets` are the first traffic secrets of both directions; alerts of ours go to scratch->cipher_out. False: OpenSSL refused.
  bool Start(CipherSuite suite, bool server, SecretArena::Share secrets, Scratch* scratch,
             uint64_t records_per_key = kRecordsPerKey);
  // Opens the record at *in where it lies, and moves *in behind it. *plain is its payload. A torn record is left, and its begin is given
  // again with what follows it.
  Step Read(uint8_t** in, size_t* in_length, Plain* plain);
  // Seals what is in the room where it lies, and tells the room. False: nothing is sealed, nor may be any more.
  bool Write(PartedRoom* room);
  // close_notify, or a fatal alert. The last that is sealed.
  void Close();
  void Alert(uint8_t description);
  // Messages and other records of TLS itself that the peer has sent since the last call.
  uint32_t TakeMessages() { return std::exchange(messages_, 0); }

  // Why Read failed.
  bool peer_closed() const { return peer_closed_; }
  int received_alert() const { return received_alert_; }  // 0: none, or close_notify
  const char* reason() const { return reason_; }

 private:
  bool CheckHeader(const uint8_t* header, size_t* sealed);
  Step OnRecord(uint8_t* plain, size_t length, Plain* payload);
  Step OnPayload(const uint8_t* bytes, size_t length, Plain* payload);
  Step OnHandshake(const uint8_t* bytes, size_t length);
  Step OnAlert(const uint8_t* bytes, size_t length);
  Step Fail(uint8_t alert, const char* reason);
  bool OwesUpdate() const { return update_owed_ || ask_ || write_.records() + 1 >= records_per_key_; }
  bool SealKeyUpdate(uint8_t* record);
  void SealLast(uint8_t level, uint8_t description);
  bool SealingOver();

  SecretArena::Share secrets_;
  RecordCipher read_;
  RecordCipher write_;
  PostHandshake post_handshake_;
  Scratch* scratch_ = nullptr;
  uint64_t records_per_key_ = kRecordsPerKey;
  uint32_t messages_ = 0;
  uint32_t empty_ = 0;         // records of payload without any, in a row
  uint32_t ignored_ = 0;       // alerts, in a row
  bool update_owed_ = false;   // the peer has asked for our key update
  bool update_asked_ = false;  // we are to ask for the peer's, or have
  bool ask_ = false;           // we are to
  bool sealing_over_ = false;
  bool failed_ = false;
  bool peer_closed_ = false;
  int received_alert_ = 0;
  const char* reason_ = "";
};

}  // namespace orlop
