// 6 · data thread · the closed lists that events carry by number; agent/engine/event-reader.ts holds the
// names, same order.
#pragma once

#include <cstdint>

namespace orlop {

enum class ListenerKind : uint32_t { kOutbound, kInbound, kHbone };
constexpr uint32_t kListenerKinds = 3;
enum class SocketKind : uint32_t { kOut4, kOut6, kLocal4, kLocal6 };
constexpr uint32_t kSocketKinds = 4;
enum class Role : uint32_t { kServer, kClient };

enum class CloseCause : uint32_t {
  kFinished,
  kResetByDownstream,
  kResetByUpstream,
  kRefused,
  kClosedByAnswer,
  kConnectFailed,
  kConnectTimeout,
  kTlsFailed,
  kTlsPeerRejected,
  kH2Failed,
  kTunnelRefused,
  kTunnelLost,
  kProtocolError,
  kNoSocket,
  kShed,
  kDrained,
  kAnswerTimeout,
};

enum class HandshakeFailure : uint32_t {
  kPlaintext,
  kNoCertificate,
  kExpired,
  kNotYetValid,
  kUnknownIssuer,
  kWrongUsage,
  kBadCertificate,
  kRejectedPeer,
  kNoAlpn,
  kTimeout,
  kClosed,
  kNoIdentity,
  kProtocol,
};

}  // namespace orlop
