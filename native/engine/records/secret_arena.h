// 10, 11 · any thread · the traffic secrets of every tunnel of the process, in one locked mapping that no core dump has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace orlop {

// What protects one direction of a connection (RFC 8446 7.1, 7.3). The key that is made of it is in OpenSSL's cipher context.
struct TrafficSecret {
  static constexpr size_t kMost = 48;  // of SHA-384
  uint8_t bytes[kMost];
  uint8_t iv[12];
  uint32_t length;
};

struct TunnelSecrets {
  TrafficSecret read;
  TrafficSecret write;
};

// While the handshake lasts, when OpenSSL has the same secrets beside it: a stranger who begins handshakes takes no slot of the arena.
struct WipedSecrets {
  void operator()(TunnelSecrets* secrets) const;
};
using EarlySecrets = std::unique_ptr<TunnelSecrets, WipedSecrets>;

class SecretArena {
 public:
  struct Leave {
    void operator()(TunnelSecrets* secrets) const { TheArena().Give(secrets); }
  };
  // Zeros at first, wiped when it is given back.
  using Share = std::unique_ptr<TunnelSecrets, Leave>;

  // Never destroyed: a data thread may end after static destructors ran.
  static SecretArena& TheArena();
  // Maps and locks room for so many tunnels, once; later calls change nothing. 0 or an errno: EPERM or ENOMEM where RLIMIT_MEMLOCK
  // forbids it.
  int Open(size_t tunnels);
  // Null: there is no room.
  Share Take();
  size_t free() const;

 private:
  void Give(TunnelSecrets* secrets);
  mutable std::mutex mutex_;
  TunnelSecrets* slots_ = nullptr;
  std::vector<uint32_t> free_;
};

}  // namespace orlop
