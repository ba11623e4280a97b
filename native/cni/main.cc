// plug-in · orlop-cni: the last plug-in of a chain (containernetworking/cni:SPEC.md). A pod of a listed namespace gets its network only when the keeper says
// that capture, or a guard that refuses everything, is in force in it; other pods pass at once. What the plug-ins before it have made is
// passed on unchanged. It is a process for each call, and is linked statically: the node may have any C library.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "cni/call.h"
#include "cni/json.h"
#include "cni/keeper.h"
#include "shared/unique_fd.h"

namespace {

using namespace orlop;

constexpr size_t kMaxListBytes = 4 * 1024 * 1024;

// containernetworking/cni:SPEC.md, "Error": below 100 the specification's own.
enum Code { kBadVersion = 1, kBadEnvironment = 4, kBadConfig = 7, kTryAgain = 11 };

std::string_view Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

// False: it cannot be read, or is longer than `max`.
bool ReadAll(int fd, size_t max, std::string* text) {
  char bytes[16384];
  for (;;) {
    const ssize_t got = read(fd, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    if (text->size() + static_cast<size_t>(got) > max) return false;
    text->append(bytes, static_cast<size_t>(got));
  }
}

bool WriteAll(std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = write(STDOUT_FILENO, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    text.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

// What strerror and the keeper say has no quotation marks; a pod's name has none either.
int Fail(Code code, std::string_view message) {
  std::string text = "{\"cniVersion\":\"1.0.0\",\"code\":" + std::to_string(code) + ",\"msg\":\"orlop-cni: ";
  for (const char byte : message) text += byte < ' ' || byte == '"' || byte == '\\' ? ' ' : byte;
  WriteAll(text + "\"}\n");
  return 1;
}

std::string Request(const char* op, const CniPod& pod) {
  const auto field = [](const char* name, std::string_view value) {
    return ",\"" + std::string(name) + "\":\"" + std::string(value) + "\"";
  };
  return "{\"op\":\"" + std::string(op) + "\"" + field("uid", pod.uid) + field("container", pod.container) +
         field("namespace", pod.name_space) + field("name", pod.name) + "}";
}

enum class Waits { kYes, kNo, kRefuse };

// Beside the list: its size is how many pods have passed while there was none. The installer reports it.
void CountPassed(std::string_view list) {
  const std::string path = std::string(list) + ".passed";
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (fd && write(fd.get(), ".", 1) != 1) return;
}

// A list that is there and cannot be read names every namespace: the pod's may be among them.
Waits DoesWait(const CniConfig& config, const CniPod& pod) {
  if (pod.name_space.empty()) return Waits::kNo;
  for (const std::string_view name : config.exempt) {
    if (name == pod.name_space) return Waits::kNo;
  }
  const UniqueFd fd(open(std::string(config.list).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    if (config.refuse_without_list) return Waits::kRefuse;
    CountPassed(config.list);
    return Waits::kNo;
  }
  std::string list;
  if (!fd || !ReadAll(fd.get(), kMaxListBytes, &list)) return Waits::kYes;
  return IsListed(list, pod.name_space) == Listed::kNo ? Waits::kNo : Waits::kYes;
}

int Pass(const CniConfig& config) {
  std::string text(config.prev_result);
  return WriteAll(text + "\n") ? 0 : 1;
}

int Add(const CniConfig& config, const CniPod& pod, int64_t began_ms) {
  if (config.prev_result.empty()) return Fail(kBadConfig, "no prevResult: it runs behind another plug-in");
  const Waits waits = DoesWait(config, pod);
  if (waits == Waits::kNo) return Pass(config);
  if (waits == Waits::kRefuse) return Fail(kTryAgain, "no list of namespaces was written on this node yet");
  if (pod.uid.empty() || pod.name.empty())
    return Fail(kBadEnvironment, "CNI_ARGS has no K8S_POD_UID or K8S_POD_NAME");
  if (pod.container.empty()) return Fail(kBadEnvironment, "CNI_CONTAINERID is missing");
  const UniqueFd netns(open(std::string(Environment("CNI_NETNS")).c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns) return Fail(kBadEnvironment, std::string("CNI_NETNS cannot be opened: ") + strerror(errno));
  const CniAnswer answer = AskKeeper(config.socket, Request("add", pod), netns.get(), began_ms);
  switch (answer.word) {
    case CniAnswer::Word::kInForce:
    case CniAnswer::Word::kNotOurs:
      return Pass(config);
    case CniAnswer::Word::kRefused:
    case CniAnswer::Word::kWait:
    case CniAnswer::Word::kNobody:
      break;
  }
  const char* hint =
      answer.word == CniAnswer::Word::kNobody
          ? "; if Orlop is on this node no more, remove 00-00-orlop.conflist from its CNI configurations"
          : "";
  return Fail(kTryAgain, "pod " + pod.name_space + "/" + pod.name + " is not captured: " + answer.why + hint);
}

// Never fails: the pod has gone, whatever we think of it.
int Delete(const CniConfig& config, const CniPod& pod) {
  if (!config.socket.empty() && !pod.uid.empty() && !pod.container.empty())
    TellKeeper(config.socket, Request("del", pod));
  return 0;
}

int Version() {
  WriteAll(std::string("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":") + kCniVersions + "}\n");
  return 0;
}

int Run() {
  const int64_t began_ms = CniNowMs();
  const std::string_view command = Environment("CNI_COMMAND");
  std::string text;
  CniConfig config;
  CniPod pod;
  const char* why = "the configuration cannot be read, or is too long";
  const bool is_read = ReadAll(STDIN_FILENO, kMaxJsonBytes, &text) && ReadCniConfig(text, &config, &why);
  const bool is_named = ReadCniArgs(Environment("CNI_ARGS"), Environment("CNI_CONTAINERID"), &pod);
  if (command == "VERSION") return Version();
  // The network works without us, and there is nothing of ours that a runtime would have to collect or to check: the keeper looks after
  // the pods that run.
  if (command == "STATUS" || command == "GC" || command == "CHECK") return 0;
  if (command == "DEL") return is_read && is_named ? Delete(config, pod) : 0;
  if (command != "ADD")
    return Fail(kBadEnvironment, "CNI_COMMAND is none of ADD, DEL, CHECK, GC, STATUS, VERSION");
  if (!is_read) return Fail(kBadConfig, why);
  if (!IsSpoken(config.cni_version)) return Fail(kBadVersion, "this version of CNI is not supported");
  if (config.socket.empty() || config.list.empty()) return Fail(kBadConfig, "socket or list is missing");
  if (!is_named) return Fail(kBadEnvironment, "CNI_ARGS and CNI_CONTAINERID name no pod that could be");
  return Add(config, pod, began_ms);
}

}  // namespace

int main() {
  return Run();
}
