// 6 · data thread · what TypeScript tells the engine to do. Each names a connection and its generation.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnRef } from "./events.ts";

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
};

/** An accepted connection is reset; a CONNECT gets `status` (400, 401, 503). */
export type Refuse = ConnRef & { readonly type: "refuse"; readonly status: number };

/** End a live connection now, with RST on both sides. */
export type Close = ConnRef & { readonly type: "close" };

export type Peer = ConnRef & { readonly type: "peer"; readonly peerIdentity: number };
export type RejectPeer = ConnRef & { readonly type: "reject-peer" };

export type Answer = Relay | Tunnel | Dial | Refuse | Close | Peer | RejectPeer;

/** Decides one event now; undefined: decided later through `answer`, or the event needs none. */
export type EventHandler = (event: import("./events.ts").EngineEvent) => Answer | undefined;
