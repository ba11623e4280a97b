// keeper · class PodThread, declared in agent/keeper/addon.ts: the one thread that enters network namespaces.
// It comes back to its own after each job or ends the process: in a foreign namespace every later socket
// would be in a pod.
#include "keeper/pod_thread.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "keeper/local_route.h"
#include "keeper/pod_sockets.h"
#include "keeper/sever.h"
#include "keeper/survey.h"
#include "shared/args.h"
#include "shared/errno_error.h"
#include "shared/unique_fd.h"

namespace orlop {
namespace {

// One call: run on the thread, inside the namespace; answered on JavaScript's.
struct Job {
  // -1: the job moves between namespaces by itself.
  int netns = -1;
  // 0 or -errno, with the failing step named.
  std::function<int(std::string* step)> run;
  std::function<Napi::Value(Napi::Env)> result;
  Napi::Promise::Deferred deferred;
  int err = 0;
  std::string step;

  Job(Napi::Env env, int fd) : netns(fd), deferred(Napi::Promise::Deferred::New(env)) {}
};

class Worker {
 public:
  using Answer = std::function<void(std::unique_ptr<Job>)>;

  explicit Worker(Answer answer) : answer_(std::move(answer)), thread_([this] { Run(); }) {}
  ~Worker() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void Add(std::unique_ptr<Job> job) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

 private:
  void Run() {
    pthread_setname_np(pthread_self(), "orlop-pods");
    const UniqueFd home(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      std::unique_ptr<Job> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      Do(home.get(), job.get());
      answer_(std::move(job));
    }
  }

  static void Do(int home, Job* job) {
    job->step = "setns";
    if (home < 0) {
      job->err = -EBADF;
      return;
    }
    if (job->netns >= 0 && setns(job->netns, CLONE_NEWNET) != 0) {
      job->err = -errno;
      return;
    }
    job->err = job->run(&job->step);
    if (setns(home, CLONE_NEWNET) == 0) return;
    fprintf(stderr, "orlop keeper: cannot return to its own network namespace (errno %d)\n", errno);
    abort();
  }

  Answer answer_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> jobs_;
  bool ending_ = false;
  std::thread thread_;  // Last: it uses all of the above.
};

bool ParseKind(const std::string& text, SocketKind* out) {
  const std::pair<const char*, SocketKind> kinds[] = {{"out4", SocketKind::kOut4},
                                                      {"out6", SocketKind::kOut6},
                                                      {"local4", SocketKind::kLocal4},
                                                      {"local6", SocketKind::kLocal6}};
  for (const auto& [name, kind] : kinds) {
    if (text != name) continue;
    *out = kind;
    return true;
  }
  return false;
}

class PodThread : public Napi::ObjectWrap<PodThread> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    exports.Set("PodThread", DefineClass(env, "PodThread",
                                         {
                                             InstanceMethod<&PodThread::PodInfo>("podInfo"),
                                             InstanceMethod<&PodThread::Listen>("listen"),
                                             InstanceMethod<&PodThread::Sockets>("sockets"),
                                             InstanceMethod<&PodThread::Prepare>("prepareNamespace"),
                                             InstanceMethod<&PodThread::RouteListener>("routeToListener"),
                                             InstanceMethod<&PodThread::Restore>("restoreNamespace"),
                                             InstanceMethod<&PodThread::SeverPod>("sever"),
                                             InstanceMethod<&PodThread::OpenSurvey>("openSurvey"),
                                             InstanceMethod<&PodThread::SurveyPods>("survey"),
                                             InstanceMethod<&PodThread::EndMarkedBy>("endMarked"),
                                             InstanceMethod<&PodThread::CloseByCaller>("close"),
                                         }));
  }

  explicit PodThread(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PodThread>(info) {
    int tags = -1;
    if (!ArgFd(info, 0, &tags)) return;
    tags_ = std::make_shared<UniqueFd>(fcntl(tags, F_DUPFD_CLOEXEC, 3));
    if (!*tags_) {
      ThrowErrno(info.Env(), errno, "fcntl(F_DUPFD_CLOEXEC)");
      return;
    }
    const Napi::Function nothing = Napi::Function::New(info.Env(), [](const Napi::CallbackInfo&) {});
    answers_ = Napi::ThreadSafeFunction::New(info.Env(), nothing, "orlop pods", 0, 1);
    // Only pending jobs keep the process alive.
    answers_.Unref(info.Env());
    worker_ = std::make_unique<Worker>([this](std::unique_ptr<Job> job) {
      Job* raw = job.release();
      const napi_status status = answers_.BlockingCall(
          raw, [this](Napi::Env env, Napi::Function, Job* done) { Settle(env, std::unique_ptr<Job>(done)); });
      // The environment ends: nobody waits for the promise, what the job made is closed with it.
      if (status != napi_ok) delete raw;
    });
  }
  ~PodThread() override { End(); }

 private:
  void End() {
    if (!worker_) return;
    worker_.reset();
    answers_.Release();
  }

  void Settle(Napi::Env env, std::unique_ptr<Job> job) {
    if (--pending_ == 0) {
      answers_.Unref(env);
      Unref();
    }
    if (job->err < 0)
      job->deferred.Reject(ErrnoError(env, -job->err, job->step).Value());
    else
      job->deferred.Resolve(job->result(env));
  }

  // Queues it; `undefined` with an exception pending after close().
  Napi::Value Queue(const Napi::CallbackInfo& info, std::unique_ptr<Job> job) {
    if (!worker_) {
      ThrowErrno(info.Env(), EBADF, "PodThread", "closed");
      return info.Env().Undefined();
    }
    const Napi::Promise promise = job->deferred.Promise();
    if (pending_++ == 0) {
      answers_.Ref(info.Env());
      Ref();
    }
    worker_->Add(std::move(job));
    return promise;
  }

  Napi::Value PodInfo(const Napi::CallbackInfo& info) {
    int netns = -1;
    if (!ArgFd(info, 0, &netns)) return info.Env().Undefined();
    auto job = std::make_unique<Job>(info.Env(), netns);
    auto found = std::make_shared<NamespaceInfo>();
    job->run = [found](std::string* step) { return ReadNamespace(found.get(), step); };
    job->result = [found](Napi::Env env) {
      Napi::Array addresses = Napi::Array::New(env);
      for (size_t i = 0; i < found->addresses.size(); i++)
        addresses.Set(static_cast<uint32_t>(i), found->addresses[i]);
      Napi::Object out = Napi::Object::New(env);
      out.Set("cookie", Napi::BigInt::New(env, found->cookie));
      out.Set("addresses", addresses);
      return out;
    };
    return Queue(info, std::move(job));
  }

  Napi::Value Listen(const Napi::CallbackInfo& info) {
    int netns = -1;
    std::string address;
    int64_t port = 0;
    Napi::Object options;
    if (!ArgFd(info, 0, &netns) || !ArgString(info, 1, &address) || !ArgInt(info, 2, 1, 65535, &port) ||
        !ArgObject(info, 3, &options))
      return info.Env().Undefined();
    if (!options.Get("transparent").IsBoolean()) {
      BadArgument(info, 3, "an object with transparent, a boolean");
      return info.Env().Undefined();
    }
    const bool transparent = options.Get("transparent").As<Napi::Boolean>().Value();
    auto job = std::make_unique<Job>(info.Env(), netns);
    auto fd = std::make_shared<UniqueFd>();
    job->run = [tags = tags_, fd, address, port, transparent](std::string* step) {
      return MakeListener(tags->get(), address, static_cast<uint16_t>(port), transparent, fd.get(), step);
    };
    job->result = [fd](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, fd->release()); };
    return Queue(info, std::move(job));
  }

  Napi::Value Sockets(const Napi::CallbackInfo& info) {
    int netns = -1;
    std::string text;
    int64_t count = 0;
    SocketKind kind = SocketKind::kOut4;
    if (!ArgFd(info, 0, &netns) || !ArgString(info, 1, &text) || !ArgInt(info, 2, 1, 64, &count))
      return info.Env().Undefined();
    if (!ParseKind(text, &kind)) {
      BadArgument(info, 1, "out4, out6, local4 or local6");
      return info.Env().Undefined();
    }
    auto job = std::make_unique<Job>(info.Env(), netns);
    auto fds = std::make_shared<std::vector<UniqueFd>>(static_cast<size_t>(count));
    job->run = [tags = tags_, fds, kind](std::string* step) {
      if (kind == SocketKind::kLocal4 || kind == SocketKind::kLocal6) {
        const int err = RouteMarked(kind == SocketKind::kLocal6, step);
        if (err < 0) return err;
        RouteDevices();
      }
      return MakeSockets(tags->get(), kind, fds.get(), step);
    };
    job->result = [fds](Napi::Env env) {
      Napi::Int32Array out = Napi::Int32Array::New(env, fds->size());
      for (size_t i = 0; i < fds->size(); i++) out[i] = (*fds)[i].release();
      return out;
    };
    return Queue(info, std::move(job));
  }

  Napi::Value Prepare(const Napi::CallbackInfo& info) {
    int netns = -1;
    if (!ArgFd(info, 0, &netns)) return info.Env().Undefined();
    auto job = std::make_unique<Job>(info.Env(), netns);
    auto problem = std::make_shared<std::string>();
    job->run = [problem](std::string* step) {
      const int err = PrepareLocalDial(step);
      // Not an error of the call: the agent then dials from the pod's address and says so.
      if (err < 0) *problem = *step + ": " + ErrnoName(-err);
      return 0;
    };
    job->result = [problem](Napi::Env env) {
      Napi::Object out = Napi::Object::New(env);
      out.Set("preservesSource", problem->empty());
      out.Set("problem", problem->empty() ? env.Undefined() : Napi::String::New(env, *problem));
      return out;
    };
    return Queue(info, std::move(job));
  }

  Napi::Value RouteListener(const Napi::CallbackInfo& info) {
    int netns = -1;
    std::string source;
    if (!ArgFd(info, 0, &netns) || !ArgString(info, 1, &source)) return info.Env().Undefined();
    auto job = std::make_unique<Job>(info.Env(), netns);
    job->run = [source](std::string* step) { return RouteToListener(source, step); };
    job->result = [](Napi::Env env) { return env.Undefined(); };
    return Queue(info, std::move(job));
  }

  Napi::Value Restore(const Napi::CallbackInfo& info) {
    int netns = -1;
    if (!ArgFd(info, 0, &netns)) return info.Env().Undefined();
    auto job = std::make_unique<Job>(info.Env(), netns);
    job->run = [](std::string* step) { return UndoRoutes(step); };
    job->result = [](Napi::Env env) { return env.Undefined(); };
    return Queue(info, std::move(job));
  }

  Napi::Value SeverPod(const Napi::CallbackInfo& info) {
    int netns = -1;
    std::vector<int> fds;
    uint32_t pod_idx = 0;
    if (!ArgFd(info, 0, &netns) || !ArgFds(info, 1, &fds) || !ArgU32(info, 2, &pod_idx))
      return info.Env().Undefined();
    if (fds.size() != 10) {
      BadArgument(info, 1, "the descriptors of ten maps");
      return info.Env().Undefined();
    }
    auto job = std::make_unique<Job>(info.Env(), netns);
    auto ended = std::make_shared<uint32_t>(0);
    job->run = [tags = tags_, fds, pod_idx, ended](std::string* step) {
      const SeverMaps maps = {tags->get(), {fds[0]}, {fds[1]}, {fds[2]}, {fds[3]}, {fds[4]},
                              {fds[5]},    {fds[6]}, {fds[7]}, {fds[8]}, {fds[9]}, pod_idx};
      return Sever(maps, ended.get(), step);
    };
    job->result = [ended](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *ended); };
    return Queue(info, std::move(job));
  }

  // Before the first survey: the worker reads what this writes.
  void OpenSurvey(const Napi::CallbackInfo& info) {
    std::vector<int> fds;
    if (!info[0].IsArray()) {
      BadArgument(info, 0, "an array of names");
      return;
    }
    if (!ArgFds(info, 1, &fds)) return;
    const auto names = info[0].As<Napi::Array>();
    if (names.Length() != fds.size()) {
      BadArgument(info, 1, "a descriptor for each name");
      return;
    }
    std::map<std::string, int> maps = {{"dst_of_sock", tags_->get()}};
    for (uint32_t i = 0; i < names.Length(); i++) maps[names.Get(i).ToString().Utf8Value()] = fds[i];
    auto survey = std::make_shared<Survey>();
    std::string why;
    const int err = survey->Load(maps, &why);
    if (err < 0) return ThrowErrno(info.Env(), -err, why);
    survey_ = std::move(survey);
  }

  Napi::Value SurveyPods(const Napi::CallbackInfo& info) {
    std::vector<int> fds, indices;
    if (!ArgFds(info, 0, &fds) || !ArgFds(info, 1, &indices)) return info.Env().Undefined();
    if (fds.size() != indices.size()) {
      BadArgument(info, 1, "an index for each namespace");
      return info.Env().Undefined();
    }
    if (!survey_) {
      ThrowErrno(info.Env(), EOPNOTSUPP, "PodThread", "no survey was opened");
      return info.Env().Undefined();
    }
    std::vector<SurveyPod> pods;
    for (size_t i = 0; i < fds.size(); i++) pods.push_back({fds[i], static_cast<uint32_t>(indices[i])});
    auto job = std::make_unique<Job>(info.Env(), -1);
    auto found = std::make_shared<std::vector<uint32_t>>();
    job->run = [survey = survey_, pods, found](std::string* step) {
      return survey->Run(pods, found.get(), step);
    };
    job->result = [found](Napi::Env env) -> Napi::Value {
      Napi::Int32Array out = Napi::Int32Array::New(env, found->size());
      for (size_t i = 0; i < found->size(); i++) out[i] = static_cast<int32_t>((*found)[i]);
      return out;
    };
    return Queue(info, std::move(job));
  }

  Napi::Value EndMarkedBy(const Napi::CallbackInfo& info) {
    int netns = -1, socks = -1;
    if (!ArgFd(info, 0, &netns) || !ArgFd(info, 1, &socks)) return info.Env().Undefined();
    auto job = std::make_unique<Job>(info.Env(), netns);
    auto ended = std::make_shared<uint32_t>(0);
    job->run = [socks, ended](std::string* step) { return EndMarked(socks, ended.get(), step); };
    job->result = [ended](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, *ended); };
    return Queue(info, std::move(job));
  }

  void CloseByCaller(const Napi::CallbackInfo&) { End(); }

  std::shared_ptr<UniqueFd> tags_;
  std::shared_ptr<Survey> survey_;
  Napi::ThreadSafeFunction answers_;
  std::unique_ptr<Worker> worker_;
  uint32_t pending_ = 0;
};

}  // namespace

void InitPodThread(Napi::Env env, Napi::Object exports) {
  PodThread::Init(env, exports);
}

}  // namespace orlop
