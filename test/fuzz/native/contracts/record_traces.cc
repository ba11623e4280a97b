// fuzz · contracts · the application data of RFC 8448, section 3, in either role: ours opens what the other side sent, a ticket among
// it, and what it seals is the trace's, byte for byte. What has a wrong tag is wiped, and so are secrets. `record-traces`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/records/key_line.h"
#include "engine/records/record_layer.h"

namespace {

using namespace orlop;
using Bytes = std::vector<uint8_t>;

constexpr std::string_view kClientSecret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
constexpr std::string_view kServerSecret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
constexpr std::string_view kTicket =
    "17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a01594025"
    "2f55713e061dc13e078891a38efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e09c30ba1e62972ac4"
    "6f75f7b981be63439b2999ce13064615139891d5e4c5b406f16e3fc181a77ca475840025db2f0a77f81b5ab05b94c01346755f69"
    "232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74bc2697687e248746d6df353005f3bce1"
    "8696129c8153556b3b6c6779b37bf15985684f";
constexpr std::string_view kClientData =
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f"
    "5a6292a2977014bd1e3deae63aeebb21694915e4";
constexpr std::string_view kServerData =
    "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4b"
    "f2e5f0a21c0047c2abf332540dd032e167c2955d";
constexpr std::string_view kClientAlert = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
constexpr std::string_view kServerAlert = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";

void Expect(bool good, const char* what) {
  if (good) return;
  fprintf(stderr, "expected %s\n", what);
  exit(1);
}

Bytes OfHex(std::string_view hex) {
  Bytes out(hex.size() / 2);
  Expect(SecretOfKeyLine(hex, out.data(), out.size()) == out.size(), "hexadecimal digits");
  return out;
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

void Set(TrafficSecret* secret, std::string_view hex) {
  secret->length = static_cast<uint32_t>(SecretOfKeyLine(hex, secret->bytes, sizeof secret->bytes));
}

const Bytes& Payload() {
  static const Bytes payload = [] {
    Bytes out(50);
    for (size_t i = 0; i < out.size(); i++) out[i] = static_cast<uint8_t>(i);
    return out;
  }();
  return payload;
}

struct End {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  RecordLayer layer;
  explicit End(bool server) {
    SecretArena::Share secrets = SecretArena::TheArena().Take();
    Set(server ? &secrets->read : &secrets->write, kClientSecret);
    Set(server ? &secrets->write : &secrets->read, kServerSecret);
    Expect(layer.Start(CipherSuite::kAes128GcmSha256, server, std::move(secrets), scratch.get()), "keys");
  }
  // Payload and then close_notify, however the records are cut.
  void Opens(const Bytes& records, size_t step, uint32_t messages) {
    Bytes got;
    RecordLayer::Step last = RecordLayer::Step::kWant;
    uint32_t seen = 0;
    Bytes come;
    for (size_t at = 0; at < records.size(); at += step) {
      come.insert(come.end(), &records[at], records.data() + std::min(at + step, records.size()));
      uint8_t* in = come.data();
      size_t left = come.size();
      do {
        RecordLayer::Plain plain;
        last = layer.Read(&in, &left, &plain);
        got.insert(got.end(), plain.begin, plain.begin + plain.length);
        seen += layer.TakeMessages();
      } while (last == RecordLayer::Step::kDone);
      come.erase(come.begin(), come.end() - static_cast<long>(left));
    }
    Expect(got == Payload(), "the payload");
    Expect(last == RecordLayer::Step::kFailed && layer.peer_closed(), "close_notify");
    Expect(seen == messages, "a count of messages");
  }
};

void WipesWhatHasAWrongTag() {
  End server(true);
  Bytes record = OfHex(kClientData);
  record.back() ^= 1;
  uint8_t* in = record.data();
  size_t left = record.size();
  RecordLayer::Plain plain;
  Expect(server.layer.Read(&in, &left, &plain) == RecordLayer::Step::kFailed && plain.length == 0,
         "a refusal");
  const uint8_t* const opened = record.data() + RecordCipher::kHeader;
  Expect(std::count(opened, opened + 51, 0) == 51, "payload and type to be wiped");
}

// The slot that is given back is the next that is taken.
void WipesSecrets() {
  SecretArena::Share share = SecretArena::TheArena().Take();
  const TunnelSecrets* const before = share.get();
  Set(&share->read, kClientSecret);
  share.reset();
  share = SecretArena::TheArena().Take();
  const auto* const bytes = reinterpret_cast<const uint8_t*>(share.get());
  Expect(share.get() == before && std::count(bytes, bytes + sizeof *share, 0) == sizeof *share,
         "secrets to be wiped");
}

}  // namespace

int main() {
  Expect(SecretArena::TheArena().Open(4) == 0, "an arena");
  for (size_t step : {size_t{1}, size_t{5}, size_t{100}, size_t{10'000}}) {
    End server(true);
    server.Opens(OfHex(kClientData) + OfHex(kClientAlert), step, 1);
    End client(false);
    client.Opens(OfHex(kTicket) + OfHex(kServerData) + OfHex(kServerAlert), step, 2);
  }
  End client(false);
  Scratch& scratch = *client.scratch;
  PartedRoom room(scratch.room, 1), another(scratch.room, 1);
  room.Put(Payload().data(), Payload().size());
  Expect(client.layer.Write(&room), "a record");
  client.layer.Close();
  const Bytes sealed(room.Record(0), room.Record(0) + room.sealed());
  const Bytes alert(scratch.cipher_out, scratch.cipher_out + scratch.cipher_length);
  Expect(sealed == OfHex(kClientData) && alert == OfHex(kClientAlert), "the records of the trace");
  another.Put(Payload().data(), Payload().size());
  Expect(!client.layer.Write(&another) && another.sealed() == 0, "nothing behind close_notify");
  WipesWhatHasAWrongTag();
  WipesSecrets();
  printf("as in RFC 8448\n");
  return 0;
}
