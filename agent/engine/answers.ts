// 6 · data thread · what TypeScript tells the engine to do. Each names a connection and its generation.
import type { httpReadings } from "../abi.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnRef } from "./events.ts";
import type { HeaderEdit } from "./head-edits.ts";

/** Plain TCP from the pod's own namespace to `to`. */
export type Relay = ConnRef & { readonly type: "relay"; readonly to: Endpoint };

/** One CONNECT stream on an HBONE tunnel from this pod to `to`; the engine reuses or dials the tunnel. */
export type Tunnel = ConnRef & {
  readonly type: "tunnel";
  /** The tunnel's TCP destination, normally <pod>:15008. */
  readonly to: Endpoint;
  /** Own identity, by the integer it was installed under. */
  readonly identity: number;
  /** Names the set of acceptable peers; comes back in PeerCertificate.expect. Equal sets have equal integers. */
  readonly expect: number;
  readonly authority: string;
  readonly baggage: string;
  readonly forwarded: string;
  readonly traceparent: string;
  /** When the peer cannot be reached the connection waits for another answer (`NotReached`); absent: it ends. */
  readonly reportsNotReached?: boolean;
};

/**
 * Connect to an application in the namespace of pod `podIdx`; from the client's address when `from` is given
 * (needs the keeper's marked sockets), else from the pod's. Its port is tried first (native/engine/relay/dialer.h); 0: the engine
 * chooses. For a CONNECT the 200 follows the connection.
 */
export type Dial = ConnRef & {
  readonly type: "dial";
  readonly podIdx: number;
  readonly to: Endpoint;
  readonly from: Endpoint | null;
  readonly baggage: string;
  /** Whether the connection is read, request by request; absent: it is not. */
  readonly reading?: HttpReading;
  /** As of `Tunnel`: when the pod has gone meanwhile. */
  readonly reportsNotReached?: boolean;
};

/**
 * "unread": bytes are relayed. "or-end" and "or-pass": each request of HTTP/1 is an event of its own; a connection that turns out to be
 * something else ends, or is relayed.
 */
export type HttpReading = (typeof httpReadings)[number];

/** An accepted connection is reset; a CONNECT gets `status` (400, 401, 503). */
export type Refuse = ConnRef & { readonly type: "refuse"; readonly status: number };

/** End a live connection now, with RST on both sides. */
export type Close = ConnRef & { readonly type: "close" };

export type Peer = ConnRef & { readonly type: "peer"; readonly peerIdentity: number };
export type RejectPeer = ConnRef & { readonly type: "reject-peer" };

/**
 * The connection of a pod's own application is read, and nothing is dialled for it: each of its requests goes where a `forward` says, or is
 * answered by a `reply`. No `established` follows; what is no HTTP/1 ends. Other connections are refused.
 */
export type Serve = ConnRef & { readonly type: "serve" };

/** The first bytes of an accepted connection are wanted before it is decided about; they stay unread. `FirstBytes` follows. */
export type Peek = ConnRef & {
  readonly type: "peek";
  /** At least so many; from 1 to ORLOP_MOST_PEEKED. */
  readonly bytes: number;
};

/**
 * Where requests of a pod may go. The engine keeps connections to it and uses them again, for requests of this pod and this number alone.
 * `route` is what `relay`, `tunnel` and `dial` say of a connection.
 */
export type Origin = {
  /** The caller's choice, from 1 to ORLOP_MOST_ORIGIN. */
  readonly origin: number;
  readonly podIdx: number;
  readonly route: Way<Relay, "to"> | Way<Tunnel, TunnelParts> | Way<Dial, "to" | "podIdx" | "from">;
  /** Absent: as the engine keeps them by itself. */
  readonly pool?: OriginPool;
};
/** How connections to an origin are kept. Of each 0: as the engine has it. */
export type OriginPool = {
  /** Milliseconds until a connection has to be open; 10,000 at most, whatever is written. */
  readonly connectMs: number;
  /** Milliseconds without a request, behind which it ends; the engine's own are 60,000. */
  readonly idleMs: number;
  /** Requests on a connection; the engine has no bound of its own. */
  readonly mostRequests: number;
  /**
   * So many connections may be open at once, of all origins of this key on all threads, and so many requests wait beside them: of HTTP/1 for a
   * connection, of HTTP/2 for a stream. Of each 0, and absent: as many as come.
   */
  readonly cap?: { readonly key: bigint; readonly most: number; readonly mostWaiting: number };
};
type TunnelParts = "to" | "identity" | "expect" | "authority" | "baggage" | "forwarded";
type Way<A extends { readonly type: string }, Parts extends keyof A> = Pick<A, "type" | Parts>;

/** A request of a connection that is read goes on to the application. */
export type Forward = ConnRef & {
  readonly type: "forward";
  readonly request: number;
  /** In the place of the target that was sent; empty: as it was sent. */
  readonly target: string;
  /** x-envoy-* and x-forwarded-client-cert are taken out; absent: they are not. */
  readonly removesProxyHeaders?: boolean;
  /** Of a connection that is served: a number that was defined for its pod. Absent: the connection's own application. */
  readonly origin?: number;
  /** In the place of Host; absent or empty: as it was sent. */
  readonly authority?: string;
  /** Of the request that the application gets, and of the response that the caller gets; 1xx are left alone. */
  readonly requestHeaders?: readonly HeaderEdit[];
  readonly responseHeaders?: readonly HeaderEdit[];
  /**
   * Of a connection that is served, from this answer on: how long until the response is whole, and how long of that with the origin. Over it
   * the caller gets 504, or a reset where the response has begun. 0 or absent: no such limit.
   */
  readonly timeoutMs?: number;
  readonly tryTimeoutMs?: number;
  /**
   * Of a connection that is served: a try that fails is an event (`TryFailed`) where the origin has got nothing of it, or whatever failed.
   * Absent: the caller is answered.
   */
  readonly asks?: "unsent" | "any";
  /** Of a connection that is served: copies of the request, sent once it is whole. Absent: none. A `MirrorEnded` follows for each. */
  readonly mirrors?: readonly MirrorCopy[];
};

/** As of `Forward`, of a copy. */
export type MirrorCopy = Required<
  Pick<Forward, "origin" | "target" | "authority" | "requestHeaders" | "removesProxyHeaders">
>;

/** Of a request whose try has failed: its caller gets what there is, the held response or an answer of the engine's. */
export type Pass = ConnRef & { readonly type: "pass"; readonly request: number };

/** Of a request whose try has failed: it comes as an event again after `ms`. */
export type Hold = ConnRef & { readonly type: "hold"; readonly request: number; readonly ms: number };

/** The engine answers the request itself; `body` is text of at most 8 KiB in one line. `headers` are those beside type and length. */
export type HttpReply = ConnRef & {
  readonly type: "reply";
  readonly request: number;
  readonly status: number;
  readonly body: string;
  readonly headers?: readonly HeaderEdit[];
};

/** The request ends without an answer: with HTTP/2 its stream is reset, with HTTP/1 the connection. */
export type Reset = ConnRef & { readonly type: "reset"; readonly request: number };

/** If a request of the connection is open, it comes as an event again: something has changed. */
export type AskAgain = ConnRef & { readonly type: "ask-again" };

export type Answer =
  | Relay
  | Tunnel
  | Dial
  | Serve
  | Peek
  | Refuse
  | Close
  | Peer
  | RejectPeer
  | Forward
  | HttpReply
  | Pass
  | Hold
  | Reset
  | AskAgain;

/** Decides one event now; undefined: decided later through `answer`, or the event needs none. */
export type EventHandler = (event: import("./events.ts").EngineEvent) => Answer | undefined;
