// fuzz · contracts · our record layer, and in one program with it a peer that has the same secrets and seals whatever a test says.
#pragma once

#include <openssl/ssl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/records/record_layer.h"

namespace orlop::contracts {

using Bytes = std::vector<uint8_t>;

inline void Expect(bool good, const std::string& what) {
  if (good) return;
  fprintf(stderr, "expected %s\n", what.c_str());
  exit(1);
}

struct RecordPeer {
  static constexpr uint8_t kAlert = 21, kHandshake = 22, kPayload = 23;
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  RecordLayer layer;
  TrafficSecret sealing{}, opening{};
  RecordCipher sealer, opener;
  // What the layer has read of the peer's payload.
  std::string read;

  RecordPeer(CipherSuite suite, bool layer_is_server,
             uint64_t records_per_key = RecordLayer::kRecordsPerKey) {
    SecretArena::Share secrets = SecretArena::TheArena().Take();
    Expect(secrets != nullptr, "a slot");
    const uint32_t length = suite == CipherSuite::kAes128GcmSha256 ? 32 : 48;
    memset(secrets->read.bytes, 1, length);
    memset(secrets->write.bytes, 2, length);
    secrets->read.length = secrets->write.length = length;
    sealing = secrets->read;
    opening = secrets->write;
    Expect(sealer.Start(suite, RecordCipher::Use::kSeal, &sealing) &&
               opener.Start(suite, RecordCipher::Use::kOpen, &opening) &&
               layer.Start(suite, layer_is_server, std::move(secrets), scratch.get(), records_per_key),
           "keys");
  }

  // The record of a TLSInnerPlaintext: content, type, and padding if any.
  Bytes Seal(const Bytes& inner) {
    Bytes record(RecordCipher::kHeader + inner.size() + RecordCipher::kTag);
    std::copy(inner.begin(), inner.end(), record.begin() + RecordCipher::kHeader);
    Expect(sealer.Seal(record.data(), inner.size() - 1, inner.back()), "a record of the peer's");
    return record;
  }
  RecordLayer::Step Reads(Bytes record) {
    uint8_t* in = record.data();
    size_t left = record.size();
    RecordLayer::Plain plain;
    const RecordLayer::Step step = layer.Read(&in, &left, &plain);
    read.append(plain.begin, plain.begin + plain.length);
    return step;
  }
  void Sends(Bytes content, uint8_t type) {
    content.push_back(type);
    Expect(Reads(Seal(content)) == RecordLayer::Step::kDone, "a record to be opened");
  }
  void Updates(uint8_t request) {
    Sends({SSL3_MT_KEY_UPDATE, 0, 0, 1, request}, kHandshake);
    Expect(sealer.Update(), "a key");
  }

  // One byte of the layer's, in words: 'x' the byte itself, '0' a key update that asks for nothing, '1' a key update that asks.
  std::string Gets() {
    PartedRoom room(scratch->room, 1);
    const uint8_t byte = 'x';
    room.Put(&byte, 1);
    Expect(layer.Write(&room), "a record of ours");
    std::string said;
    for (uint8_t* record = room.Record(0); record < room.Record(0) + room.sealed();) {
      const size_t sealed = static_cast<size_t>(record[3]) << 8 | record[4];
      Expect(opener.Open(record, sealed), "a record that opens");
      const uint8_t* const content = record + RecordCipher::kHeader;
      const bool update = content[sealed - RecordCipher::kTag - 1] == kHandshake;
      said += static_cast<char>(update ? '0' + content[4] : content[0]);
      if (update) Expect(opener.Update(), "a key");
      record += RecordCipher::kHeader + sealed;
    }
    return said;
  }
};

}  // namespace orlop::contracts
