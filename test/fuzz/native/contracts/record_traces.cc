// fuzz · contracts · the application data of two traces, of RFC 8448, section 3, with AES-128, and of "The Illustrated TLS 1.3 Connection"
// (syncsynchalt/illustrated-tls13:captures), with AES-256, in either role: ours opens what the other side sent, tickets among it, and what it
// seals is the trace's, byte for byte. What has a wrong tag is wiped, and so are secrets. `record-traces`.
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

constexpr std::string_view kWideClientSecret =
    "9e47af27cb60d818a9ea7d233cb5ed4cc525fcd74614fb24b0ee59acb8e5aa7ff8d88b89792114208fec291a6fa96bad";
constexpr std::string_view kWideServerSecret =
    "86c967fd7747a36a0685b4ed8d0e6b4c02b4ddaf3cd294aa44e9f6b0183bf911e89a189ba5dfd71fccffb5cc164901f8";
constexpr std::string_view kWideTickets =
    "17030300ea382d8c19a47f4e8d9b0c510bc348db2cc99b241cd0d18b31d0ca1ac12dc1e303c58d0c7e9e27294c6b0e3198f7"
    "d319eb14622ec48b6ac8f866d7494fa775c880ff43ad4b1af53a03ca197795778fff2ffe1d3b99b34de782a76abfa840e636"
    "6cd7349d9bcff641f5e0dff95e40d72e09effe18ee64672cb96005404488ad1896c44a5fd174998e9b0094d8e6d84d2929b7"
    "883dc9a3c3c7313a87293f31b61d24d99097c8853bfbeb95d1d01f99ca05b0501859cf6340e8377075970152fa94f5f5be29"
    "06e72a15e40836a41f4cd3dbe7d513c16e88611d3eae9338d9db1f91ca3d5842602a610b43a46317030300ea38adfb1d01fd"
    "95a60385e8bbf1fd8dcb46709897e7d674c2f7370ec11d8e33eb4f4fe7f54bf4dc0b92fae7421c33c6453cebc073159610a0"
    "9740ab2d056f8d51cfa262007d401236dafc2f7292ff0cc886a4ef389f2ced1226c6b4dcf69d994ff9148ef969bc77d9433a"
    "b1d3a932542182829f889ad95f04c752f94ace57146a5d84b042bfb3485a64e7e957b08980cd08baf9698b8929986d1174d4"
    "aa6dd7a7e8c086052c3c76d81934bdf59b966e392031f3471adebddddbe84fcf1ff408846ae9b28ca4a9e728844a493d8045"
    "5d6eaff205b40a1ef18574efc0b96ad383afbd8dfc86f8087c1f7dc8";
constexpr std::string_view kPing = "1703030015828139cb7b73aaabf5b82fbf9a2961bcde10038a32";
constexpr std::string_view kPong = "17030300150cda85f1447ae23fa66d56f4c5408482b1b1d4c998";

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

Bytes Ascending(size_t length) {
  Bytes out(length);
  for (size_t i = 0; i < length; i++) out[i] = static_cast<uint8_t>(i);
  return out;
}
Bytes Text(std::string_view text) {
  return Bytes(text.begin(), text.end());
}

struct Trace {
  CipherSuite suite;
  std::string_view client_secret, server_secret, tickets, client_data, server_data;
  Bytes client_payload, server_payload;
  uint32_t messages;  // tickets
  // close_notify. Empty: the trace ends without.
  std::string_view client_alert, server_alert;
};

const std::vector<Trace>& Traces() {
  static const auto* const traces = new std::vector<Trace>{
      {CipherSuite::kAes128GcmSha256, kClientSecret, kServerSecret, kTicket, kClientData, kServerData,
       Ascending(50), Ascending(50), 1, kClientAlert, kServerAlert},
      {CipherSuite::kAes256GcmSha384, kWideClientSecret, kWideServerSecret, kWideTickets, kPing, kPong,
       Text("ping"), Text("pong"), 2, "", ""},
  };
  return *traces;
}

struct End {
  std::unique_ptr<Scratch> scratch = std::make_unique<Scratch>();
  RecordLayer layer;
  End(const Trace& trace, bool server) {
    SecretArena::Share secrets = SecretArena::TheArena().Take();
    Set(server ? &secrets->read : &secrets->write, trace.client_secret);
    Set(server ? &secrets->write : &secrets->read, trace.server_secret);
    Expect(layer.Start(trace.suite, server, std::move(secrets), scratch.get()), "keys");
  }
  // However the records are cut. `closes`: close_notify is the last.
  void Opens(const Bytes& records, size_t step, uint32_t messages, const Bytes& payload, bool closes) {
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
    Expect(got == payload, "the payload");
    Expect(last == (closes ? RecordLayer::Step::kFailed : RecordLayer::Step::kWant) &&
               layer.peer_closed() == closes,
           "close_notify where the trace has it");
    Expect(seen == messages, "a count of messages");
  }
};

void Opens(const Trace& trace) {
  const bool closes = !trace.client_alert.empty();
  for (size_t step : {size_t{1}, size_t{5}, size_t{100}, size_t{10'000}}) {
    End server(trace, true);
    server.Opens(OfHex(trace.client_data) + OfHex(trace.client_alert), step, closes ? 1 : 0,
                 trace.client_payload, closes);
    End client(trace, false);
    client.Opens(OfHex(trace.tickets) + OfHex(trace.server_data) + OfHex(trace.server_alert), step,
                 trace.messages + (closes ? 1 : 0), trace.server_payload, closes);
  }
}

void Seals(const Trace& trace) {
  End client(trace, false);
  Scratch& scratch = *client.scratch;
  PartedRoom room(scratch.room, 1), another(scratch.room, 1);
  room.Put(trace.client_payload.data(), trace.client_payload.size());
  Expect(client.layer.Write(&room), "a record");
  client.layer.Close();
  const Bytes sealed(room.Record(0), room.Record(0) + room.sealed());
  const Bytes alert(scratch.cipher_out, scratch.cipher_out + scratch.cipher_length);
  Expect(sealed == OfHex(trace.client_data), "the record of the trace");
  Expect(trace.client_alert.empty() || alert == OfHex(trace.client_alert), "the alert of the trace");
  another.Put(trace.client_payload.data(), trace.client_payload.size());
  Expect(!client.layer.Write(&another) && another.sealed() == 0, "nothing behind close_notify");
}

void WipesWhatHasAWrongTag(const Trace& trace) {
  End server(trace, true);
  Bytes record = OfHex(trace.client_data);
  record.back() ^= 1;
  uint8_t* in = record.data();
  size_t left = record.size();
  RecordLayer::Plain plain;
  Expect(server.layer.Read(&in, &left, &plain) == RecordLayer::Step::kFailed && plain.length == 0,
         "a refusal");
  const uint8_t* const opened = record.data() + RecordCipher::kHeader;
  const auto length = static_cast<long>(trace.client_payload.size() + 1);
  Expect(std::count(opened, opened + length, 0) == length, "payload and type to be wiped");
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
  for (const Trace& trace : Traces()) {
    Opens(trace);
    Seals(trace);
    WipesWhatHasAWrongTag(trace);
  }
  WipesSecrets();
  printf("as in both traces\n");
  return 0;
}
