// plug-in · one call of the plug-in, read: its configuration (containernetworking/cni:SPEC.md, "Section 1"), its arguments ("Section 2") and the list of
// namespaces. Pure: texts in, values out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orlop {

// Empty texts where the configuration says nothing.
struct CniConfig {
  std::string_view cni_version;
  // What the plug-ins before this one have made, as JSON; empty: this plug-in is not behind another.
  std::string_view prev_result;
  std::string_view socket;
  std::string_view list;
  // Namespaces that never wait: the mesh itself must be able to start.
  std::vector<std::string_view> exempt;
  // Where no list was ever written, pods are refused instead of passed.
  bool refuse_without_list = false;
};

// The versions that we speak, as an array of JSON.
extern const char kCniVersions[];

// False: what the runtime sends is not as CNI has it, or our own part of it is not as the installer writes it; `why` says more.
bool ReadCniConfig(std::string_view text, CniConfig* config, const char** why);

bool IsSpoken(std::string_view cni_version);

// The pod that the runtime names; empty texts where it names none.
struct CniPod {
  std::string name_space;
  std::string name;
  std::string uid;
  // Its sandbox, from CNI_CONTAINERID: a pod may get a second sandbox under the same UID.
  std::string container;
};

// `args`: CNI_ARGS; `container`: CNI_CONTAINERID. False: a name has characters that no name of Kubernetes has.
bool ReadCniArgs(std::string_view args, std::string_view container, CniPod* pod);

enum class Listed { kYes, kNo, kDamaged };

// The list is a header, a namespace in each line and a last line, so that a torn file is no short list.
Listed IsListed(std::string_view list, std::string_view name_space);

}  // namespace orlop
