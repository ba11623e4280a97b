// keeper · runs bpf/survey.bpf.c, which walks the kernel's table of TCP connections once for all pods.
#include "keeper/survey.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace orlop {
namespace {

// Groups of buckets of one run: the kernel schedules others in between, however large the table is.
constexpr uint32_t kGroupsOfRun = 256;

int RunOnce(const struct bpf_program* program) {
  DECLARE_LIBBPF_OPTS(bpf_test_run_opts, opts);
  return bpf_prog_test_run_opts(bpf_program__fd(program), &opts);
}

}  // namespace

int Survey::Load(const std::map<std::string, int>& maps, std::string* why) {
  *why = "bpf_object__open";
  std::unique_ptr<struct survey_bpf, Deleter> loaded(survey_bpf__open());
  if (!loaded) return -errno;
  struct bpf_map* map = nullptr;
  bpf_object__for_each_map(map, loaded->obj) {
    if (bpf_map__is_internal(map)) continue;
    const auto ours = maps.find(bpf_map__name(map));
    *why = std::string("bpf_map__reuse_fd ") + bpf_map__name(map);
    // Declared beside those that the program reads.
    const int err =
        ours == maps.end() ? bpf_map__set_autocreate(map, false) : bpf_map__reuse_fd(map, ours->second);
    if (err < 0) return err;
  }
  *why = "bpf(BPF_PROG_LOAD)";
  const int err = survey_bpf__load(loaded.get());
  if (err < 0) return err;
  skeleton_ = std::move(loaded);
  return 0;
}

int Survey::Run(const std::vector<SurveyPod>& pods, std::vector<uint32_t>* found, std::string* step) {
  struct orlop_survey* const survey = &skeleton_->bss->survey;
  std::memset(survey, 0, sizeof(*survey));
  uint64_t table = 0;
  uint64_t buckets = 0;
  int err = 0;
  for (const SurveyPod& pod : pods) {
    *step = "setns";
    if (setns(pod.netns, CLONE_NEWNET) != 0) return -errno;
    *step = "bpf(BPF_PROG_TEST_RUN): orlop_find_table";
    err = RunOnce(skeleton_->progs.orlop_find_table);
    if (err < 0) return err;
    if (table == 0) {
      table = survey->ehash;
      buckets = uint64_t{survey->mask} + 1;
    }
    // A pod with a table of its own (net.ipv4.tcp_child_ehash_entries), or that the maps have under another index, is not
    // found by this walk. By itself it is looked at in any case.
    const bool walked = table != 0 && survey->ehash == table && survey->pod_idx == pod.pod_idx &&
                        pod.pod_idx != 0 && pod.pod_idx < ORLOP_SURVEY_PODS;
    if (walked)
      survey->pods[pod.pod_idx] = ORLOP_SURVEY_ASKED;
    else
      found->push_back(pod.pod_idx);
  }
  *step = "bpf(BPF_PROG_TEST_RUN): orlop_survey_table";
  survey->ehash = table;
  if (buckets % ORLOP_SURVEY_GROUP != 0) survey->torn = 1;
  const auto all = static_cast<uint32_t>(buckets / ORLOP_SURVEY_GROUP);
  for (uint32_t done = 0; done < all && survey->torn == 0; done += survey->groups) {
    survey->from = done * ORLOP_SURVEY_GROUP;
    survey->groups = std::min(kGroupsOfRun, all - done);
    err = RunOnce(skeleton_->progs.orlop_survey_table);
    if (err < 0) return err;
  }
  for (const SurveyPod& pod : pods) {
    if (pod.pod_idx >= ORLOP_SURVEY_PODS) continue;
    const uint8_t said = survey->pods[pod.pod_idx];
    if (said == ORLOP_SURVEY_FOUND || (said == ORLOP_SURVEY_ASKED && survey->torn != 0))
      found->push_back(pod.pod_idx);
  }
  return 0;
}

}  // namespace orlop
