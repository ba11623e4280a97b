// plug-in · reads what the runtime sends, strictly and within bounds.
#include "cni/call.h"

#include "cni/json.h"

namespace orlop {
namespace {

constexpr std::string_view kSpoken[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};
constexpr std::string_view kListHeader = "orlop namespaces 1\n";
constexpr std::string_view kListEnd = "end\n";
constexpr size_t kMaxNameBytes = 253;

bool Is(std::string_view text, bool (*allowed)(char)) {
  if (text.empty() || text.size() > kMaxNameBytes) return false;
  for (const char byte : text) {
    if (!allowed(byte)) return false;
  }
  return true;
}

bool IsLowerOrDigit(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

bool InName(char byte) {
  return IsLowerOrDigit(byte) || byte == '-' || byte == '.';
}

bool InUid(char byte) {
  return InName(byte) || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

bool InPath(char byte) {
  return byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\';
}

bool TextOf(std::string_view value, std::string_view* text) {
  return value.empty() || PlainJsonString(value, text);
}

}  // namespace

const char kCniVersions[] = "[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]";

bool IsSpoken(std::string_view cni_version) {
  for (const std::string_view spoken : kSpoken) {
    if (cni_version == spoken) return true;
  }
  return false;
}

bool ReadCniConfig(std::string_view text, CniConfig* config, const char** why) {
  std::vector<JsonMember> members;
  *why = "the configuration is no JSON object, or has a name twice";
  if (!ReadJsonObject(text, &members)) return false;
  *why = "cniVersion is no plain text";
  if (!TextOf(JsonValueOf(members, "cniVersion"), &config->cni_version)) return false;
  config->prev_result = JsonValueOf(members, "prevResult");
  *why = "prevResult is no object";
  if (!config->prev_result.empty() && config->prev_result.front() != '{') return false;
  *why = "socket or list is no absolute path";
  for (auto [name, path] : {std::pair{"socket", &config->socket}, std::pair{"list", &config->list}}) {
    if (!TextOf(JsonValueOf(members, name), path)) return false;
    if (!path->empty() && (path->front() != '/' || !Is(*path, InPath))) return false;
  }
  *why = "withoutList is neither pass nor refuse";
  std::string_view without = "pass";
  if (!TextOf(JsonValueOf(members, "withoutList"), &without)) return false;
  if (without != "pass" && without != "refuse") return false;
  config->refuse_without_list = without == "refuse";
  *why = "exempt is no list of namespaces";
  const std::string_view exempt = JsonValueOf(members, "exempt");
  std::vector<std::string_view> names;
  if (!exempt.empty() && !ReadJsonArray(exempt, &names)) return false;
  for (const std::string_view value : names) {
    std::string_view name;
    if (!PlainJsonString(value, &name) || !Is(name, InName)) return false;
    config->exempt.push_back(name);
  }
  return true;
}

bool ReadCniArgs(std::string_view args, std::string_view container, CniPod* pod) {
  *pod = {};
  pod->container = container;
  const std::pair<std::string_view, std::string*> wanted[] = {
      {"K8S_POD_NAMESPACE=", &pod->name_space},
      {"K8S_POD_NAME=", &pod->name},
      {"K8S_POD_UID=", &pod->uid},
  };
  while (!args.empty()) {
    const std::string_view pair = args.substr(0, args.find(';'));
    args.remove_prefix(pair.size() < args.size() ? pair.size() + 1 : args.size());
    for (const auto& [key, value] : wanted) {
      if (pair.substr(0, key.size()) == key) *value = pair.substr(key.size());
    }
  }
  const auto fits = [](const std::string& value, bool (*allowed)(char)) {
    return value.empty() || Is(value, allowed);
  };
  return fits(pod->name_space, InName) && fits(pod->name, InName) && fits(pod->uid, InUid) &&
         fits(pod->container, InUid);
}

Listed IsListed(std::string_view list, std::string_view name_space) {
  if (list.substr(0, kListHeader.size()) != kListHeader) return Listed::kDamaged;
  list.remove_prefix(kListHeader.size());
  if (list.size() < kListEnd.size() || list.substr(list.size() - kListEnd.size()) != kListEnd)
    return Listed::kDamaged;
  list.remove_suffix(kListEnd.size());
  if (!list.empty() && list.back() != '\n') return Listed::kDamaged;
  while (!list.empty()) {
    const std::string_view line = list.substr(0, list.find('\n'));
    if (line == name_space) return Listed::kYes;
    list.remove_prefix(line.size() + 1);
  }
  return Listed::kNo;
}

}  // namespace orlop
