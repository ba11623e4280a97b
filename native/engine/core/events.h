// 6 · data thread · the closed lists that events carry by number. native/gen-abi.ts writes their names into agent/abi.ts.
#pragma once

#include <cstdint>

namespace orlop {

enum class ListenerKind : uint32_t { kOutbound, kInbound, kHbone };
constexpr uint32_t kListenerKinds = 3;
enum class SocketKind : uint32_t { kOut4, kOut6, kLocal4, kLocal6 };
constexpr uint32_t kSocketKinds = 4;
enum class Role : uint32_t { kServer, kClient };

// Whether a connection is read as HTTP, request by request; and what becomes of a connection that turns out to be something else.
enum class HttpReading : uint32_t { kUnread, kOrEnd, kOrPass };

// What a request came in.
enum class HttpProtocol : uint32_t { kHttp1, kHttp2 };

// Every way in which a request ends. A request that was reported ends once, before its connection does.
enum class RequestOutcome : uint32_t {
  kAnswered,     // the application's response was passed on whole
  kReplied,      // by the answer `reply`
  kRefused,      // it is no acceptable HTTP: the refusal is in `identity`, and nobody was asked
  kUpgraded,     // 101: what follows on the connection is no HTTP
  kBadResponse,  // the application's response is no acceptable HTTP; the refusal is in `identity`
  kResetByDownstream,
  kResetByUpstream,
  kTimeout,  // of the head, of the answer, or of a body in which nothing moved
  kCut,      // the connection ended under it by an answer of ours
  kNotReached,  // there was no connection to its origin, which has got nothing: why is a CloseCause in `identity`
  kDeadline,  // the time that its answer gave was over
};

// Why a try of a request at its origin has failed.
enum class TryFailure : uint32_t {
  kNotReached,  // there was no connection, and the origin has got nothing: why is a CloseCause in `identity`
  kLost,        // its connection ended before the response's head was whole
  kTimeout,     // the time for a try was over
  kStatus,      // the response has a status from 400, which is in `detail`
};

// Every way in which a copy of a request ends. A copy that an answer has asked for ends once.
enum class MirrorEnd : uint32_t {
  kAnswered,    // its response has been read, or more of it than anybody reads
  kTooLarge,    // the request's body is longer than what is kept for a copy
  kIncomplete,  // the request has ended, or has taken too long, before it was whole
  kFull,        // too many copies are under way, or too much is kept for them
  kNotReached,  // there was no connection
  kLost,  // its connection has ended before the response was whole, or the response is no acceptable HTTP
  kTimeout,
  kDrained,    // with the engine
  kWithdrawn,  // its origin was dropped meanwhile: pods or policies have changed
};
constexpr uint32_t kMirrorEnds = 9;

// How connections to an origin are made: as by the answers of these names.
enum class OriginWay : uint32_t { kRelay, kTunnel, kDial };

// What an edit does to the fields of a head that have its name.
enum class HeaderOp : uint32_t {
  kSet,     // it takes their place
  kAdd,     // it comes behind them
  kRemove,  // they are taken out
};

// Every way in which a connection ends. A connection that was reported ends once.
enum class CloseCause : uint32_t {
  kFinished,           // both sides sent FIN and all bytes were delivered
  kResetByDownstream,  // RST from the side that was accepted
  kResetByUpstream,
  kRefused,         // by the answer `refuse`
  kClosedByAnswer,  // by the answer `close`
  kConnectFailed,   // errno in detail
  kConnectTimeout,
  kTlsFailed,        // our dial of a tunnel; TLS alert in detail
  kTlsPeerRejected,  // by the answer `reject-peer`
  kH2Failed,         // no usable HTTP/2 on the tunnel
  kTunnelRefused,    // CONNECT answered with another status than 200; the status is in detail
  kTunnelLost,       // the tunnel ended under an established stream
  kProtocolError,    // the peer broke HTTP/2 or sent data too early
  kNoSocket,         // the keeper's pool stayed empty until the deadline
  kShed,             // descriptor or memory budget
  kDrained,
  kAnswerTimeout,         // no answer within the deadline
  kUnanswered,            // too many CONNECTs of this pod were abandoned and have no answer of the peer yet
  kPeerCertificateEnded,  // under a tunnel: it has expired, or its root is no longer trusted
  kNotHttp,      // it was to be read, and its first bytes are no HTTP, or the application spoke first
  kHttpRefused,  // a message on it was no acceptable HTTP, and it cannot go on
  kHttpTimeout,
  kOverflow,  // as many connections to its origin as may be were open, until the time was over in which it had to be open
  kHttpSilent,  // its pod has too many connections that are read, and nothing was open on this for longest
  kUnread,      // bytes of a relay have waited too long for an end that took none of them
};

// Why a handshake on :15008 did not become a tunnel.
enum class HandshakeFailure : uint32_t {
  kPlaintext,  // the first bytes are no TLS record
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
  kNoIdentity,  // no certificate of our own for this pod yet
  kProtocol,
};

}  // namespace orlop
