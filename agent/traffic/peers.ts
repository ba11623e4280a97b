// 10, 11 · data thread · who is at the other end of a tunnel: certificate → identity → welcome or not (docs/reference/hbone.md#tls).
import type { Peer, RejectPeer } from "../engine/answers.ts";
import type { PeerCertificate } from "../engine/events.ts";
import type { PeerIdentity, PeerRejection } from "../identity/peer-certificate.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { ExpectedPeers } from "./expected-peers.ts";

/** Most identities of one mesh. Each was signed by our own CA; beyond that the next is turned away. */
const MAX_IDENTITIES = 1 << 20;

/** Verified identities, interned: the engine and a CONNECT speak of them by integer. */
export class VerifiedPeers {
  readonly #integers = new Map<string, number>();
  readonly #identities: SpiffeId[] = [];

  intern(identity: SpiffeId): number | undefined {
    const known = this.#integers.get(identity.text);
    if (known !== undefined) return known;
    if (this.#identities.length >= MAX_IDENTITIES) return undefined;
    const integer = this.#identities.push(identity);
    this.#integers.set(identity.text, integer);
    return integer;
  }

  /** undefined: nobody was verified under this integer; 0 is nobody. */
  get(integer: number): SpiffeId | undefined {
    return this.#identities[integer - 1];
  }
}

/** The leaf's one SPIFFE ID, or why it has none: `PeerCertificates.read`. */
export type ReadPeer = (leaf: Uint8Array) => PeerIdentity;

/** Why a peer was turned away: a closed list, for a metric's label. */
export type PeerRefusal =
  | PeerRejection
  | "unexpected-identity" //  we dialled, and somebody else answered
  | "foreign-trust-domain" // we were dialled from another mesh
  | "too-many-identities"; // more than MAX_IDENTITIES

/** `message` says it in words, and may name identities. */
export type PeerRejected = (event: PeerCertificate, reason: PeerRefusal, message: string) => void;

export type PeerOptions = {
  readonly trustDomain: string;
  readonly verified: VerifiedPeers;
  readonly expected: ExpectedPeers;
  readonly readPeer: ReadPeer;
  /** Called for every peer that is turned away, to count and log it. */
  readonly rejected: PeerRejected;
};

/** The chain was verified by the engine; here the name in it is held against what this handshake is about. */
export function answerPeer(event: PeerCertificate, options: PeerOptions): Peer | RejectPeer {
  const { conn, generation } = event;
  const reject = (reason: PeerRefusal, message: string): RejectPeer => {
    options.rejected(event, reason, message);
    return { conn, generation, type: "reject-peer" };
  };
  const read = options.readPeer(event.leaf);
  if ("reject" in read) return reject(read.reject, `the peer's certificate: ${read.reject}`);
  const identity = read.spiffeId;
  // As a client the set decides alone: it names whole identities, and a ServiceEntry may name an identity of another domain.
  if (event.role === "client" && !options.expected.admits(event.expect, identity.text)) {
    return reject("unexpected-identity", `${identity.text} answered, which is not expected there`);
  }
  if (event.role === "server" && identity.trustDomain !== options.trustDomain) {
    return reject("foreign-trust-domain", `${identity.text} is not of ${options.trustDomain}`);
  }
  const peerIdentity = options.verified.intern(identity);
  if (peerIdentity === undefined) return reject("too-many-identities", `no room for ${identity.text}`);
  return { conn, generation, type: "peer", peerIdentity };
}
