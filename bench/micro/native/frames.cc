// bench · instructions · what a peer's bytes cost from the socket to the
// answer: CONNECT heads as a peer with a warm HPACK table writes them, and
// small DATA frames on their way to an application; heads of HTTP/1, and whole requests. Frames come sixteen to a
// wake-up. Prints what each stretch between two marks was, and how many frames
// it held.
#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/http/http1_head.h"
#include "engine/http/http1_write.h"
#include "engine/http/request_event.h"
#include "rig.h"

extern "C" void orlop_mark();

namespace {

constexpr int kAtOnce = 16;
constexpr int kWarm = 20;
constexpr int kMeasured = 100;
constexpr size_t kPayload = 128;
constexpr uint8_t kData = 0, kHeaders = 1, kSettings = 4, kWindowUpdate = 8, kEndHeaders = 4;

void Expect(bool true_one) {
  if (true_one) return;
  fprintf(stderr, "frames: the bytes did not arrive\n");
  exit(1);
}

std::string Frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload) {
  const auto length = static_cast<uint32_t>(payload.size());
  const char head[9] = {
      static_cast<char>(length >> 16), static_cast<char>(length >> 8), static_cast<char>(length),
      static_cast<char>(type),         static_cast<char>(flags),       static_cast<char>(stream >> 24),
      static_cast<char>(stream >> 16), static_cast<char>(stream >> 8), static_cast<char>(stream)};
  return std::string(head, sizeof head) + payload;
}

nghttp2_nv Field(const char* name, const std::string& value) {
  nghttp2_nv field{};
  field.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name));
  field.namelen = std::char_traits<char>::length(name);
  field.value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data()));
  field.valuelen = value.size();
  return field;
}

class Peer {
 public:
  explicit Peer(uint32_t answer) : Peer(answer, orlop::HttpReading::kUnread, 4) {}
  Peer(uint32_t answer, orlop::HttpReading reading, size_t applications)
      : rig(answer, reading, applications) {
    if (nghttp2_hd_deflate_new(&deflater_, 4096) != 0) abort();
    Say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(kSettings, 0, 0, ""));
  }
  ~Peer() { nghttp2_hd_deflate_del(deflater_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Say(const std::string& bytes) { rig.Say(bytes); }
  // A trace of its own for each, all else as before.
  std::string Connect() {
    stream_ += 2;
    char trace[64];
    snprintf(trace, sizeof trace, "00-0af7651916cd43dd8448eb211c80%04x-b7ad6b7169203331-01",
             stream_ & 0xffff);
    nghttp2_nv fields[] = {Field(":method", "CONNECT"), Field(":authority", authority_),
                           Field("baggage", baggage_), Field("traceparent", trace_ = trace)};
    uint8_t block[1024];
    const ssize_t length = nghttp2_hd_deflate_hd(deflater_, block, sizeof block, fields, 4);
    if (length < 0) abort();
    return Frame(kHeaders, kEndHeaders, stream_,
                 std::string(reinterpret_cast<char*>(block), static_cast<size_t>(length)));
  }
  uint32_t stream() const { return stream_; }

  orlop::bench::Rig rig;

 private:
  nghttp2_hd_deflater* deflater_ = nullptr;
  uint32_t stream_ = UINT32_MAX;
  std::string authority_ = "10.90.2.11:8080";
  std::string baggage_ =
      "k8s.cluster.name=box,k8s.namespace.name=bench,k8s."
      "pod.name=client,service.name=client,service.version="
      "1";
  std::string trace_;
};

// `frames` makes the bytes that the peer sends at once. They are made before the measurement begins.
template <typename Frames>
void Measure(const char* name, Peer& peer, Frames frames) {
  for (int i = 0; i < kWarm; i++) peer.Say(frames());
  std::string all[kMeasured];
  for (std::string& one : all) one = frames();
  orlop_mark();
  for (const std::string& one : all) peer.Say(one);
  orlop_mark();
  printf("%s %d\n", name, kMeasured * kAtOnce);
}

// `step` is what is measured, once for each call.
template <typename Step>
void Stretch(const char* name, int calls, Step step) {
  for (int i = 0; i < kWarm; i++) step();
  orlop_mark();
  for (int i = 0; i < calls; i++) step();
  orlop_mark();
  printf("%s %d\n", name, calls);
}

// Twelve fields, as browsers and gateways send them.
const std::string kRequest =
    "GET /api/v1/items/7?page=2 HTTP/1.1\r\nHost: api.shop.svc.cluster.local:8080\r\nUser-Agent: Mozilla/5.0 "
    "(X11; Linux x86_64)\r\n"
    "Accept: application/json\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: "
    "en-GB,en;q=0.7\r\nCache-Control: no-cache\r\n"
    "X-Request-Id: 7f3c2a10-5d1e-4b62-9a51-0c9d8e7f6a5b\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: "
    "https\r\n"
    "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nX-Tenant: retail\r\nConnection: "
    "keep-alive\r\n\r\n";

// A request's head on its way through a connection that is read, without the connection: read, made texts for TypeScript, written anew.
void MeasureHead() {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(kRequest.data());
  constexpr int kHeads = 1'000;
  orlop::Http1Head head;
  Stretch("http-head-read", kHeads, [&] {
    Expect(orlop::ReadRequestHead(bytes, kRequest.size(), &head) == orlop::Http1Refusal::kNone);
  });
  char into[4096];
  Expect(orlop::RequestTextsRoom(head) <= sizeof into);
  size_t texts = 0;
  Stretch("http-head-texts", kHeads, [&] { texts = orlop::WriteRequestTexts(bytes, head, into).ends[3]; });
  Expect(texts > 400);
  uint8_t out[4096];
  size_t written = 0;
  Stretch("http-head-write", kHeads, [&] {
    written = orlop::WriteRequestHead(bytes, head, orlop::UnchangedEdit(head), out, sizeof out);
  });
  // All of it but Connection.
  Expect(written == kRequest.size() - (sizeof "Connection: keep-alive\r\n" - 1));
}

const std::string kAnswer =
    "HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 16:00:00 GMT\r\nContent-Type: "
    "application/octet-stream\r\nCache-Control: "
    "no-store\r\nContent-Length: 1024\r\n\r\n" +
    std::string(1024, 'x');

// A request and its answer of 1 KB on each of sixteen streams, from the tunnel's socket to the applications' and back: on connections
// that are read, with the answer of TypeScript and without its time; or relayed.
void MeasureRequests(const char* name, orlop::HttpReading reading) {
  Peer peer(ORLOP_ANSWER_DIAL, reading, kAtOnce + 4);
  // No window of the peer ends during the measurement.
  peer.Say(Frame(kSettings, 0, 0, std::string("\0\4\x7f\xff\xff\xff", 6)) +
           Frame(kWindowUpdate, 0, 0, std::string("\x7f\xff\0\0", 4)));
  std::string asks;
  for (int i = 0; i < kAtOnce; i++) {
    peer.Say(peer.Connect());
    asks += Frame(kData, 0, peer.stream(), kRequest);
  }
  const uint64_t before = peer.rig.peer_heard();
  const auto exchange = [&] {
    peer.Say(asks);
    peer.rig.AskedSay(kAnswer);
  };
  for (int i = 0; i < kWarm; i++) exchange();
  orlop_mark();
  for (int i = 0; i < kMeasured; i++) exchange();
  orlop_mark();
  printf("%s %d\n", name, kMeasured * kAtOnce);
  constexpr uint64_t kAll = uint64_t{kWarm + kMeasured} * kAtOnce;
  Expect(peer.rig.applications_heard() >= kAll * (kRequest.size() - 24));
  Expect(peer.rig.peer_heard() - before >= kAll * kAnswer.size());
}

// The same from sixteen callers to their origin and back, over connections that are used again each time.
void MeasureServed() {
  orlop::bench::Rig rig(ORLOP_ANSWER_SERVE, orlop::HttpReading::kUnread, kAtOnce + 4);
  for (int i = 0; i < kAtOnce; i++) {
    rig.Call();
    // It may not be sent twice, so that each caller's gets a connection of its own.
    rig.CallerSays("POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n");
    rig.AskedSay(kAnswer);
  }
  const auto exchange = [&] {
    rig.CallersSay(kRequest);
    rig.AskedSay(kAnswer);
  };
  for (int i = 0; i < kWarm; i++) exchange();
  orlop_mark();
  for (int i = 0; i < kMeasured; i++) exchange();
  orlop_mark();
  printf("http-request-served %d\n", kMeasured * kAtOnce);
  constexpr uint64_t kAll = uint64_t{kWarm + kMeasured} * kAtOnce;
  Expect(rig.applications_heard() >= kAll * (kRequest.size() - 24));
  Expect(rig.callers_heard() >= kAll * kAnswer.size());
}

}  // namespace

int main() {
  MeasureHead();
  {
    Peer peer(ORLOP_ANSWER_REFUSE);
    Measure("connect-head", peer, [&] {
      std::string some;
      for (int i = 0; i < kAtOnce; i++) some += peer.Connect();
      return some;
    });
    // Each was refused by a HEADERS frame at least.
    Expect(peer.rig.peer_heard() > uint64_t{kWarm + kMeasured} * kAtOnce * 9);
  }
  {
    Peer peer(ORLOP_ANSWER_DIAL);
    peer.Say(peer.Connect());
    const std::string one = Frame(kData, 0, peer.stream(), std::string(kPayload, 'x'));
    std::string some;
    for (int i = 0; i < kAtOnce; i++) some += one;
    Measure("data-frame", peer, [&] { return some; });
    Expect(peer.rig.applications_heard() == uint64_t{kWarm + kMeasured} * kAtOnce * kPayload);
  }
  {
    Peer peer(ORLOP_ANSWER_DIAL);
    peer.Say(peer.Connect());
    const uint64_t before = peer.rig.peer_heard();
    const std::string some(kPayload, 'x');
    Stretch("upload-frame", kMeasured, [&] { peer.rig.ApplicationSays(some); });
    Expect(peer.rig.peer_heard() - before == uint64_t{kWarm + kMeasured} * (kPayload + 9));
  }
  {
    orlop::bench::Rig rig(ORLOP_ANSWER_RELAY);
    rig.Call();
    const std::string some(kPayload, 'x');
    Stretch("relay-message", kMeasured, [&] { rig.CallerSays(some); });
    Expect(rig.applications_heard() == uint64_t{kWarm + kMeasured} * kPayload);
    rig.EndCall();
    Stretch("relay-life", kMeasured, [&] {
      rig.Call();
      rig.EndCall();
    });
  }
  MeasureServed();
  // The last: their engines live on, and each turn of the loop looks at them.
  MeasureRequests("http-request-relayed", orlop::HttpReading::kUnread);
  MeasureRequests("http-request-judged", orlop::HttpReading::kOrEnd);
  return 0;
}
