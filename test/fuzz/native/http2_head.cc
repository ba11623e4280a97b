// fuzz · h2c_head.cc: fields of HTTP/2 as a head of HTTP/1, and back. The first byte says whether a body follows; then come fields: two
// bytes of length, name, value. What is accepted has a line for each field and no other, goes on as fields that HTTP/2 allows, says
// nothing in our name, and is read and written the same a second time.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "engine/h2c/h2c_head.h"

namespace {

using namespace orlop;

void Expect(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

size_t LinesOf(const std::string& text) {
  size_t lines = 0;
  for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) lines++;
  return lines;
}

std::string Word(const H2Field& field) {
  return std::string(field.name) + "=" + std::string(field.value) + "\n";
}

void ExpectClean(const H2cBlock& block) {
  int pseudo = 0;
  bool regular = false;
  for (const H2Field& field : block.fields) {
    const bool is_pseudo = !field.name.empty() && field.name[0] == ':';
    Expect(!is_pseudo || !regular, "pseudo-fields come first");
    regular = regular || !is_pseudo;
    pseudo += is_pseudo ? 1 : 0;
    for (const char c : field.name) Expect(c < 'A' || c > 'Z', "names are in small letters");
    for (const char c : field.value) Expect(c != '\r' && c != '\n' && c != '\0', "a value ends no line");
    Expect(field.name.substr(0, 8) != "x-orlop-", "a request says nothing in our name");
    for (const char* const of_connection :
         {"connection", "upgrade", "transfer-encoding", "keep-alive", "host"})
      Expect(field.name != of_connection, "fields of one connection stay behind");
  }
  Expect(pseudo == 4, "each pseudo-field is there once");
}

std::string Written(const H2cFields& fields, bool ends, std::string* again, H2cFields* out) {
  std::string text;
  Http1Head head;
  if (ReadH2cRequest(fields, ends, &text, &head) != Http1Refusal::kNone) {
    Expect(text.empty(), "of what is refused nothing is left");
    return {};
  }
  Expect(LinesOf(text) == size_t{head.field_count} + 2, "each field is a line");
  H2cBlock block;
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  Expect(WriteH2cRequest(bytes, head, UnchangedEdit(head), fields.Find(":scheme"), &block), "it goes on");
  ExpectClean(block);
  for (const H2Field& field : block.fields) {
    *again += Word(field);
    out->Add(field.name, field.value);
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const bool ends = (data[0] & 1) != 0;
  H2cFields fields;
  for (size_t at = 1; at + 2 <= size;) {
    const size_t name = data[at], value = data[at + 1];
    at += 2;
    if (name + value > size - at) break;
    const auto* const text = reinterpret_cast<const char*>(data + at);
    fields.Add({text, name}, {text + name, value});
    at += name + value;
  }
  CheckH2cTrailers(fields);
  std::string first, second;
  H2cFields once, twice;
  if (Written(fields, ends, &first, &once).empty()) return 0;
  Expect(!Written(once, ends, &second, &twice).empty(), "what goes on is accepted");
  Expect(first == second, "it is written the same a second time");
  return 0;
}
