// keeper · which pods have a connection that may have to end, found by one walk over the kernel's table for all of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "survey_abi.h"
// Behind survey_abi.h, whose types it uses.
#include "survey.skel.h"

namespace orlop {

struct SurveyPod {
  int netns;  // a descriptor; not ours
  uint32_t pod_idx;
};

class Survey {
 public:
  // `maps`: descriptors by name, of all maps that survey.bpf.c reads. 0 or -errno with the kernel's words in `why`: this
  // kernel cannot, and every pod has to be looked at by itself.
  int Load(const std::map<std::string, int>& maps, std::string* why);
  bool IsLoaded() const { return skeleton_ != nullptr; }

  // Those of `pods` that Sever() has to be called for. Leaves the calling thread in some pod's namespace. A pod is left
  // out only if everything of it that bypasses the agent was seen, and may stay. 0 or -errno.
  int Run(const std::vector<SurveyPod>& pods, std::vector<uint32_t>* found, std::string* step);

 private:
  struct Deleter {
    void operator()(struct survey_bpf* skeleton) const { survey_bpf__destroy(skeleton); }
  };
  std::unique_ptr<struct survey_bpf, Deleter> skeleton_;
};

}  // namespace orlop
