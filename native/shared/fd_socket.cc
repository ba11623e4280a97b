// any thread · class FdSocket, declared in agent/keeper/addon.ts: packets with
// descriptors on the calling thread's loop.
#include "shared/fd_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <uv.h>

#include <cerrno>
#include <deque>
#include <memory>
#include <utility>

#include "shared/args.h"
#include "shared/errno_error.h"
#include "shared/fd_passing.h"
#include "shared/unique_fd.h"
#include "shared/uv_handle.h"

namespace orlop {
namespace {

constexpr size_t kMaxQueuedBytes = 1 << 20;
constexpr size_t kMaxQueuedFds = 256;
constexpr int64_t kConnections = 64;  // Accepted at once, unless listen() names another number.
constexpr int64_t kMaxConnections = 4096;
constexpr int kPacketsPerTurn = 16;  // So that one busy peer does not hold up the loop.

class FdSocket;

// What a listening socket and those it accepted share: how many of them live.
struct Accepted {
  int64_t live = 0;
  int64_t most = kConnections;
  FdSocket* listener = nullptr;
};

struct Start {
  UniqueFd fd;
  bool listening = false;
  int64_t most = kConnections;
  std::shared_ptr<Accepted> accepted;
};

class FdSocket : public Napi::ObjectWrap<FdSocket> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    exports.Set("FdSocket", DefineClass(env, "FdSocket",
                                        {
                                            StaticMethod<&FdSocket::Listen>("listen"),
                                            StaticMethod<&FdSocket::Connect>("connect"),
                                            InstanceAccessor<&FdSocket::Fd>("fd"),
                                            InstanceMethod<&FdSocket::Credentials>("credentials"),
                                            InstanceMethod<&FdSocket::PeerIsAlive>("peerLives"),
                                            InstanceMethod<&FdSocket::Send>("send"),
                                            InstanceMethod<&FdSocket::OnMessage>("onMessage"),
                                            InstanceMethod<&FdSocket::OnConnection>("onConnection"),
                                            InstanceMethod<&FdSocket::OnClose>("onClose"),
                                            InstanceMethod<&FdSocket::CloseByCaller>("close"),
                                            InstanceMethod<&FdSocket::RefHandle>("ref"),
                                            InstanceMethod<&FdSocket::UnrefHandle>("unref"),
                                        }));
  }

  // From JavaScript only by listen() and connect().
  explicit FdSocket(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FdSocket>(info), env_(info.Env()) {
    if (!info[0].IsExternal()) {
      BadArgument(info, 0, "made by FdSocket.listen or FdSocket.connect");
      return;
    }
    Start* start = info[0].As<Napi::External<Start>>().Data();
    fd_ = std::move(start->fd);
    listening_ = start->listening;
    accepted_ = start->accepted;
    if (listening_) {
      accepted_ = std::make_shared<Accepted>();
      accepted_->listener = this;
      accepted_->most = start->most;
      spare_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
    } else if (accepted_) {
      accepted_->live++;
    }
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env_, &loop);
    const int err = poll_.Open(loop, fd_.get(), this, [](uv_poll_t* handle, int status, int events) {
      static_cast<FdSocket*>(handle->data)->Ready(status, events);
    });
    if (err < 0) {
      Release();
      ThrowErrno(env_, -err, "uv_poll_init");
      return;
    }
    class_ = Napi::Persistent(info.NewTarget().As<Napi::Function>());
    // An open socket is alive even when JavaScript holds nothing but its handlers.
    Ref();
    rooted_ = true;
    napi_add_env_cleanup_hook(env_, CleanUp, this);
    hooked_ = true;
  }
  ~FdSocket() override { Release(); }

 private:
  static Napi::Value Make(const Napi::Function& constructor, Start* start) {
    return constructor.New({Napi::External<Start>::New(constructor.Env(), start)});
  }

  static Napi::Value Listen(const Napi::CallbackInfo& info) {
    std::string path;
    int64_t mode = 0;
    if (!ArgString(info, 0, &path) || !ArgInt(info, 1, 0, 0777, &mode)) return info.Env().Undefined();
    Start start;
    start.listening = true;
    if (info.Length() > 2 && !ArgInt(info, 2, 1, kMaxConnections, &start.most)) return info.Env().Undefined();
    const int err = ListenUnix(path, static_cast<uint32_t>(mode), static_cast<int>(start.most), &start.fd);
    if (err == 0) return Make(info.This().As<Napi::Function>(), &start);
    ThrowErrno(info.Env(), -err, "listen", path);
    return info.Env().Undefined();
  }

  static Napi::Value Connect(const Napi::CallbackInfo& info) {
    std::string path;
    if (!ArgString(info, 0, &path)) return info.Env().Undefined();
    Start start;
    const int err = ConnectUnix(path, &start.fd);
    if (err == 0) return Make(info.This().As<Napi::Function>(), &start);
    ThrowErrno(info.Env(), -err, "connect", path);
    return info.Env().Undefined();
  }

  Napi::Value Fd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), fd_.get()); }

  Napi::Value Credentials(const Napi::CallbackInfo& info) {
    PeerCredentials peer;
    const int err = !fd_ ? -EBADF : listening_ ? -ENOTCONN : ReadCredentials(fd_.get(), &peer);
    if (err < 0) {
      ThrowErrno(info.Env(), -err, "getsockopt(SO_PEERCRED)");
      return info.Env().Undefined();
    }
    Napi::Object out = Napi::Object::New(info.Env());
    out.Set("pid", peer.pid);
    out.Set("uid", peer.uid);
    out.Set("gid", peer.gid);
    return out;
  }

  Napi::Value PeerIsAlive(const Napi::CallbackInfo& info) {
    const int lives = !fd_ ? -EBADF : listening_ ? -ENOTCONN : PeerLives(fd_.get());
    if (lives >= 0) return Napi::Boolean::New(info.Env(), lives == 1);
    if (lives != -ENOPROTOOPT) ThrowErrno(info.Env(), -lives, "getsockopt(SO_PEERPIDFD)");
    return info.Env().Undefined();
  }

  void Send(const Napi::CallbackInfo& info) {
    ByteView bytes;
    std::vector<int> fds;
    if (!ArgBytes(info, 0, &bytes) || !ArgFds(info, 1, &fds)) return;
    int err = !fd_ ? -EPIPE : listening_ ? -ENOTCONN : -EAGAIN;
    if (err == -EAGAIN && queue_.empty()) err = SendPacket(fd_.get(), bytes.data, bytes.size, fds);
    if (err == -EAGAIN) err = Enqueue(bytes, fds);
    if (err < 0) ThrowErrno(info.Env(), -err, "sendmsg");
  }

  int Enqueue(const ByteView& bytes, const std::vector<int>& fds) {
    if (bytes.size == 0) return -EINVAL;
    if (bytes.size > kMaxPacketBytes || fds.size() > kMaxPacketFds) return -EMSGSIZE;
    if (queued_bytes_ + bytes.size > kMaxQueuedBytes || queued_fds_ + fds.size() > kMaxQueuedFds)
      return -ENOBUFS;
    Packet packet;
    packet.bytes.assign(bytes.data, bytes.data + bytes.size);
    for (const int fd : fds) {
      UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
      if (!copy) return -errno;
      packet.fds.push_back(std::move(copy));
    }
    queued_bytes_ += bytes.size;
    queued_fds_ += fds.size();
    queue_.push_back(std::move(packet));
    Watch();
    return 0;
  }

  void OnMessage(const Napi::CallbackInfo& info) {
    Napi::Function handler;
    if (!ArgFunction(info, 0, &handler)) return;
    on_message_ = Napi::Persistent(handler);
    Watch();
  }
  void OnConnection(const Napi::CallbackInfo& info) {
    Napi::Function handler;
    if (!ArgFunction(info, 0, &handler)) return;
    on_connection_ = Napi::Persistent(handler);
    Watch();
  }
  void OnClose(const Napi::CallbackInfo& info) {
    Napi::Function handler;
    if (ArgFunction(info, 0, &handler)) on_close_ = Napi::Persistent(handler);
  }
  void CloseByCaller(const Napi::CallbackInfo&) { Finish(0, "close"); }
  void RefHandle(const Napi::CallbackInfo&) { poll_.Ref(true); }
  void UnrefHandle(const Napi::CallbackInfo&) { poll_.Ref(false); }

  void Watch() {
    if (!fd_) return;
    const bool reads =
        listening_ ? !on_connection_.IsEmpty() && accepted_->live < accepted_->most : !on_message_.IsEmpty();
    const int err = poll_.Watch((reads ? UV_READABLE : 0) | (queue_.empty() ? 0 : UV_WRITABLE));
    if (err < 0) Finish(-err, "uv_poll_start");
  }

  void Ready(int status, int events) {
    const Napi::HandleScope scope(env_);
    if (status < 0) return Finish(-status, "uv_poll");
    if ((events & UV_WRITABLE) != 0) Flush();
    if (!fd_ || (events & UV_READABLE) == 0) return;
    listening_ ? AcceptWaiting() : ReceiveWaiting();
  }

  void Flush() {
    while (!queue_.empty()) {
      Packet& packet = queue_.front();
      std::vector<int> fds;
      for (const UniqueFd& fd : packet.fds) fds.push_back(fd.get());
      const int err = SendPacket(fd_.get(), packet.bytes.data(), packet.bytes.size(), fds);
      if (err == -EAGAIN) return;
      if (err < 0) return Finish(-err, "sendmsg");
      queued_bytes_ -= packet.bytes.size();
      queued_fds_ -= packet.fds.size();
      queue_.pop_front();
    }
    Watch();
  }

  void ReceiveWaiting() {
    for (int i = 0; i < kPacketsPerTurn && fd_; i++) {
      Packet packet;
      const int size = ReceivePacket(fd_.get(), &packet);
      if (size == -EAGAIN) return;
      if (size <= 0) return Finish(-size, "recvmsg");
      const Napi::HandleScope scope(env_);
      Napi::Int32Array fds = Napi::Int32Array::New(env_, packet.fds.size());
      for (size_t at = 0; at < packet.fds.size(); at++) fds[at] = packet.fds[at].release();
      Call(on_message_, {Napi::Buffer<uint8_t>::Copy(env_, packet.bytes.data(), packet.bytes.size()), fds});
    }
  }

  void AcceptWaiting() {
    for (int i = 0; i < kPacketsPerTurn && fd_ && accepted_->live < accepted_->most; i++) {
      Start start;
      start.fd.reset(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!start.fd) {
        if (errno == EMFILE || errno == ENFILE) ShedOne();
        return;  // EAGAIN, ECONNABORTED: nobody there any more.
      }
      start.accepted = accepted_;
      const Napi::HandleScope scope(env_);
      const Napi::Value socket = Make(class_.Value(), &start);
      if (env_.IsExceptionPending()) return Report();
      Call(on_connection_, {socket});
    }
    Watch();
  }

  // The process has no descriptor left. Accepts and closes a waiting connection by means of a descriptor kept
  // for this, because the loop would otherwise wake up for it without end.
  void ShedOne() {
    spare_.reset();
    UniqueFd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
    spare_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  }

  void Call(const Napi::FunctionReference& handler, const std::initializer_list<napi_value>& args) {
    if (handler.IsEmpty()) return;
    handler.MakeCallback(Value(), args);
    if (env_.IsExceptionPending()) Report();
  }

  // What a handler throws is the process's uncaught exception, as with Node's own sockets.
  void Report() { napi_fatal_exception(env_, env_.GetAndClearPendingException().Value()); }

  void Finish(int err, const char* syscall) {
    if (!fd_) return;
    const Napi::HandleScope scope(env_);
    Release();
    const Napi::Value why = err == 0 ? env_.Undefined() : ErrnoError(env_, err, syscall).Value();
    const Napi::FunctionReference handler = std::move(on_close_);
    on_message_.Reset();
    on_connection_.Reset();
    if (!handler.IsEmpty()) Call(handler, {why});
    if (rooted_) {
      rooted_ = false;
      Unref();
    }
  }

  // Descriptors and handle only; may run when JavaScript may not.
  void Release() {
    if (hooked_) napi_remove_env_cleanup_hook(env_, CleanUp, this);
    hooked_ = false;
    poll_.Close();
    fd_.reset();
    queue_.clear();
    queued_bytes_ = queued_fds_ = 0;
    if (!accepted_) return;
    const std::shared_ptr<Accepted> accepted = std::move(accepted_);
    if (listening_) {
      accepted->listener = nullptr;
      return;
    }
    accepted->live--;
    if (accepted->listener != nullptr) accepted->listener->Watch();
  }

  static void CleanUp(void* self) {
    auto* socket = static_cast<FdSocket*>(self);
    socket->hooked_ = false;
    socket->Release();
  }

  Napi::Env env_;
  UniqueFd fd_;
  UniqueFd spare_;
  UvPoll poll_;
  bool listening_ = false;
  bool rooted_ = false;
  bool hooked_ = false;
  std::shared_ptr<Accepted> accepted_;
  std::deque<Packet> queue_;
  size_t queued_bytes_ = 0;
  size_t queued_fds_ = 0;
  Napi::FunctionReference class_;
  Napi::FunctionReference on_message_;
  Napi::FunctionReference on_connection_;
  Napi::FunctionReference on_close_;
};

}  // namespace

void InitFdSocket(Napi::Env env, Napi::Object exports) {
  FdSocket::Init(env, exports);
}

}  // namespace orlop
