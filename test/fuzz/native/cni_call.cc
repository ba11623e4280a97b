// fuzz · native/cni: what a runtime may send to the plug-in. The first byte says as what the rest is read. What is taken for an object is
// an object of the same members when it is written again, and no text of ours has a character that its place does not allow.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cni/call.h"
#include "cni/json.h"

namespace {

using namespace orlop;

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

void Json(std::string_view text) {
  std::vector<JsonMember> members;
  if (!ReadJsonObject(text, &members)) return;
  std::string again = "{";
  for (const JsonMember& member : members) {
    if (member.value.empty()) Fail("a member without a value");
    if (again.size() > 1) again += ',';
    again += '"';
    again += member.name;
    again += "\":";
    again += member.value;
    std::string_view plain;
    if (PlainJsonString(member.value, &plain) && plain.find('"') != std::string_view::npos)
      Fail("a torn text");
  }
  std::vector<JsonMember> read;
  if (!ReadJsonObject(again + "}", &read) || read.size() != members.size())
    Fail("it reads otherwise when it is written again");
}

void Config(std::string_view text) {
  CniConfig config;
  const char* why = nullptr;
  if (!ReadCniConfig(text, &config, &why)) {
    if (why == nullptr) Fail("refused without a reason");
    return;
  }
  for (const std::string_view path : {config.socket, config.list}) {
    if (!path.empty() && path.front() != '/') Fail("a path that is relative");
    if (path.find('\0') != std::string_view::npos) Fail("a path that ends early");
  }
  if (!config.prev_result.empty() && text.find(config.prev_result) == std::string_view::npos)
    Fail("another prevResult");
}

void Args(std::string_view text) {
  CniPod pod;
  if (!ReadCniArgs(text, text.substr(text.find(';') + 1), &pod)) return;
  for (const std::string& name : {pod.name_space, pod.name, pod.uid, pod.container}) {
    if (name.find_first_of("\"\\/\n;") != std::string::npos || name.size() > 253) Fail("a name that is none");
  }
}

void List(std::string_view text) {
  const bool has = text.find("\nshop\n") != std::string_view::npos;
  if (IsListed(text, "shop") == Listed::kYes && !has) Fail("it is not in the list");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      Json(text);
      break;
    case 1:
      Config(text);
      break;
    case 2:
      Args(text);
      break;
    default:
      List(text);
  }
  return 0;
}
