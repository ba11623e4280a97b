// 10, 11 · data thread · who is at the other end of a tunnel: certificate → identity → welcome or not (wire.md 1.3).
import type { Peer, RejectPeer } from "../engine/answers.ts";
import type { PeerCertificate } from "../engine/events.ts";
import type { PeerIdentity } from "../identity/peer-certificate.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { ExpectedPeers } from "./tunnel.ts";

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

export type PeerRejected = (event: PeerCertificate, reason: string) => void;

export type PeerOptions = {
  readonly trustDomain: string;
  readonly verified: VerifiedPeers;
  readonly expected: ExpectedPeers;
  readonly readPeer: ReadPeer;
  /** Told of everyone turned away: to be counted and logged. */
  readonly rejected: PeerRejected;
};

/** The chain was verified by the engine; here the name in it is held against what this handshake is about. */
export function answerPeer(event: PeerCertificate, options: PeerOptions): Peer | RejectPeer {
  const { conn, generation } = event;
  const reject = (reason: string): RejectPeer => {
    options.rejected(event, reason);
    return { conn, generation, type: "reject-peer" };
  };
  const read = options.readPeer(event.leaf);
  if ("reject" in read) return reject(read.reject);
  const identity = read.spiffeId;
  // As a client the set decides alone: it names whole identities, and a ServiceEntry may name one of another domain.
  if (event.role === "client" && !options.expected.admits(event.expect, identity.text)) {
    return reject(`identity ${identity.text} is not expected here`);
  }
  if (event.role === "server" && identity.trustDomain !== options.trustDomain) {
    return reject(`trust domain ${identity.trustDomain} is not ${options.trustDomain}`);
  }
  const peerIdentity = options.verified.intern(identity);
  if (peerIdentity === undefined) return reject("too many identities");
  return { conn, generation, type: "peer", peerIdentity };
}
