// 6 · data thread · what the engine tells TypeScript. Plain data, decoded from the arena by event-reader.ts.
import type {
  closeCauses,
  handshakeFailures,
  http1Refusals,
  httpProtocols,
  mirrorEnds,
  requestOutcomes,
  tryFailures,
} from "../abi.ts";
import type { SocketKind } from "../keeper/protocol.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { HeadWords } from "../mesh/head-words.ts";
import type { RequestFields } from "./request-fields.ts";

/** A connection of the engine: slot and generation. An answer to a dead generation is ignored. */
export type ConnRef = { readonly conn: number; readonly generation: number };

/** A captured connection was accepted: on :15001 from the pod's own application, on :15006 in plaintext from elsewhere. */
export type Accepted = ConnRef & {
  readonly type: "accepted";
  readonly listener: "outbound" | "inbound";
  readonly podIdx: number;
  readonly source: Endpoint;
  /** outbound: what the application dialled; null when the kernel knows of no such flow. inbound: the local address. */
  readonly destination: Endpoint | null;
};

/** Chain and signature of a TLS peer were verified; who is it, and is it welcome? Answer: `peer` or `reject-peer`. */
export type PeerCertificate = ConnRef & {
  readonly type: "peer-certificate";
  readonly role: "server" | "client";
  readonly podIdx: number;
  readonly peer: Endpoint;
  /** The leaf in DER. A copy that may be kept. */
  readonly leaf: Uint8Array;
  /** Own identity in this handshake, by integer. */
  readonly identity: number;
  /** client: `expect` of the tunnel answer that caused the dial. */
  readonly expect: number;
};

/** A verified peer asked, by HTTP/2 CONNECT on :15008, for a connection. Answer: `dial` or `refuse`, now or later. */
export type ConnectRequest = ConnRef & {
  readonly type: "connect-request";
  readonly podIdx: number;
  /** The TCP peer of the tunnel: the client pod's own address. */
  readonly peer: Endpoint;
  /** What the tunnel's own socket was accepted on; the authority must name the same address. */
  readonly local: Endpoint;
  /** The integer that the `peer` answer gave. */
  readonly peerIdentity: number;
  readonly authority: string;
  /** Labels of metrics and logs; never decides (docs/reference/failures.md, row E3). Empty when absent. At most 4 KiB together. */
  readonly baggage: string;
  readonly forwarded: string;
  readonly traceparent: string;
};

/** The far side of an answered connection is there: the tunnel said 200, or the application accepted. */
export type Established = ConnRef & {
  readonly type: "established";
  /** Address and port really dialled. */
  readonly upstream: Endpoint;
  readonly elapsedUs: number;
  /** From the 200 of a tunnel; telemetry only. */
  readonly baggage: string;
};

/**
 * The far end of a `tunnel` or `dial` answer that asked for this could not be reached: TCP refused the dial, or ended it before the peer
 * had said anything, or the pod to dial in has gone. Nothing was sent to an application. Answer: as to `accepted`, within six seconds.
 */
export type NotReached = ConnRef & {
  readonly type: "not-reached";
  readonly podIdx: number;
  /** What was dialled. */
  readonly to: Endpoint;
  /** As in Closed. */
  readonly cause: CloseCause;
  readonly detail: number;
  readonly message: string;
};

/** Every way in which a connection ends; native/engine/core/events.h says what each means. */
export type CloseCause = (typeof closeCauses)[number];

export type Closed = ConnRef & {
  readonly type: "closed";
  readonly cause: CloseCause;
  /** errno, HTTP status, TLS alert or the number of an Http1Refusal, by cause; 0: none. */
  readonly detail: number;
  /** OpenSSL's or nghttp2's own words, or an Http1Refusal, for the log. */
  readonly message: string;
  /** Payload bytes from downstream (accepted side) to upstream, and back. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly durationUs: number;
};

/** A server handshake on :15008 that never became a tunnel; nothing was reported before. */
export type HandshakeFailed = {
  readonly type: "handshake-failed";
  readonly podIdx: number;
  readonly peer: Endpoint;
  readonly reason: HandshakeFailure;
  readonly message: string;
};
export type HandshakeFailure = (typeof handshakeFailures)[number];

/** A tunnel ended because of what its peer did: floods, resets, malformed frames (docs/reference/failures.md, table A). */
export type TunnelAbused = {
  readonly type: "tunnel-abused";
  readonly podIdx: number;
  readonly peer: Endpoint;
  readonly peerIdentity: number;
  readonly reason: string;
};

/**
 * What was wanted by `peek`: so many bytes at least, and up to ORLOP_MOST_PEEKED that are there; or fewer when no more will come (`isAll`),
 * because the caller has sent its FIN or nothing for five seconds: then there may be none. Answer: as to `accepted`, or `peek` again.
 */
export type FirstBytes = ConnRef & {
  readonly type: "first-bytes";
  /** A copy that may be kept. */
  readonly bytes: Uint8Array;
  readonly isAll: boolean;
};

/** Fewer pooled sockets than wanted; the keeper should be asked for `count` more. */
export type PoolLow = {
  readonly type: "pool-low";
  readonly podIdx: number;
  readonly kind: SocketKind;
  readonly count: number;
};

/** A copy of a request of this pod, which a `forward` had asked for, has ended. */
export type MirrorEnded = { readonly type: "mirror-ended"; readonly podIdx: number; readonly end: MirrorEnd };
/** Every way in which a copy ends; native/engine/core/events.h says what each means. */
export type MirrorEnd = (typeof mirrorEnds)[number];

/** What a request came in. */
export type HttpProtocol = (typeof httpProtocols)[number];

/** A connection that is read has a request, whose head is whole and acceptable. Answer: `forward` or `reply`, now or later. */
export type RequestEvent = ConnRef & {
  readonly type: "request";
  readonly podIdx: number;
  /** Of the connection's requests, from 1. The same number again: `ask-again` was answered. */
  readonly request: number;
  readonly protocol: HttpProtocol;
  readonly method: string;
  /** Path and query as they were sent, also of an absolute URI; or `*`. */
  readonly target: string;
  /** Of an absolute target, else Host; empty: none was sent. */
  readonly authority: string;
  /** These three, which other requests may have, too; absent: nobody has read them before. */
  readonly words?: HeadWords | undefined;
  /** Valid until the handler of this event returns. */
  readonly fields: RequestFields;
};

/** Every way in which a try of a request fails; native/engine/core/events.h says what each means. */
export type TryFailure = (typeof tryFailures)[number];

/**
 * A request that went on with `asks` has failed at its origin, and its caller has got nothing of a response. All that has come of its body is
 * kept. Answer: `forward` to try again, `hold`, or `pass`, within six seconds.
 */
export type TryFailed = Omit<RequestEvent, "type"> & {
  readonly type: "try-failed";
  readonly failure: TryFailure;
  /** Of "status": the response's. Of "not-reached": errno, HTTP status or TLS alert by cause, as in Closed; else 0. */
  readonly status: number;
  /** Of "not-reached"; else null. */
  readonly cause: CloseCause | null;
  /** Whether the origin may have got some of the request. */
  readonly isSent: boolean;
  /** Of this try. */
  readonly durationUs: number;
};

/** A connection that was to be read is no HTTP/1 and may pass (`or-pass`): its bytes are relayed from here on. */
export type Opaque = ConnRef & { readonly type: "opaque" };

/** Every way in which a request ends; native/engine/core/events.h says what each means. */
export type RequestOutcome = (typeof requestOutcomes)[number];

/** Why a message of HTTP/1 is refused (native/engine/http/http1_refusal.h); "none": it is not. */
export type Http1Refusal = (typeof http1Refusals)[number];

/** The last word on a request. Of `refused` it may be the only word: nobody was asked. */
export type RequestEnded = ConnRef & {
  readonly type: "request-ended";
  readonly podIdx: number;
  readonly request: number;
  readonly outcome: RequestOutcome;
  /** Of the response, ours included; 0: there was none. */
  readonly status: number;
  /** Why HTTP/1 was refused. */
  readonly refusal: Http1Refusal;
  /** Of "not-reached": why; `message` is OpenSSL's or nghttp2's words, or those of an errno. Absent otherwise. */
  readonly notReached?: { readonly cause: CloseCause; readonly message: string };
  /** Of a call of gRPC: its status (grpc:doc/statuscodes.md), -1: it ended without. Absent: it was none. */
  readonly grpcStatus?: number | undefined;
  /** Payload of both bodies, without what frames it. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** From the first byte of its head. */
  readonly durationUs: number;
  /** Of "answered" and "upgraded" at the caller's end: from the beginning of its last try to its response's head; else 0. */
  readonly answeredUs: number;
};

export type EngineEvent =
  | RequestEvent
  | RequestEnded
  | TryFailed
  | Opaque
  | Accepted
  | PeerCertificate
  | ConnectRequest
  | Established
  | NotReached
  | FirstBytes
  | Closed
  | HandshakeFailed
  | TunnelAbused
  | PoolLow
  | MirrorEnded;
