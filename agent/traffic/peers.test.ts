import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerCertificate } from "../engine/events.ts";
import { parseSpiffeId } from "../mesh/spiffe-id.ts";
import { ExpectedPeers } from "./expected-peers.ts";
import { answerPeer, VerifiedPeers } from "./peers.ts";

const web = "spiffe://cluster.local/ns/shop/sa/web";
const foreign = "spiffe://other.mesh/ns/shop/sa/web";

function setUp() {
  const rejected: string[] = [];
  const options = {
    trustDomain: "cluster.local",
    verified: new VerifiedPeers(),
    expected: new ExpectedPeers(),
    readPeer: (leaf: Uint8Array) => {
      const spiffeId = parseSpiffeId(Buffer.from(leaf).toString());
      return spiffeId === undefined ? ({ reject: "malformed" } as const) : { spiffeId };
    },
    rejected: (_event: PeerCertificate, reason: string) => void rejected.push(reason),
  };
  const shown = (role: "client" | "server", identity: string, expect = 0) =>
    answerPeer(
      {
        ...{ type: "peer-certificate", conn: 1, generation: 1, podIdx: 1, role, identity: 11, expect },
        ...{ peer: { address: "10.0.0.2", port: 15_008 }, leaf: new Uint8Array(Buffer.from(identity)) },
      },
      options,
    );
  return { options, rejected, shown };
}

test("equal identities have equal integers, by which a CONNECT's peer is found again; 0 is nobody", () => {
  const { options, shown } = setUp();
  const first = shown("server", web);
  assert.deepEqual(shown("server", web), first);
  assert.ok(first.type === "peer");
  assert.equal(options.verified.get(first.peerIdentity)?.text, web);
  assert.equal(options.verified.get(0), undefined);
});

test("dialled from another mesh: turned away; dialling, the expected set alone decides", () => {
  const { options, rejected, shown } = setUp();
  assert.equal(shown("server", foreign).type, "reject-peer");
  const expect = options.expected.intern([foreign]);
  assert.equal(shown("client", foreign, expect).type, "peer");
  assert.equal(shown("client", web, expect).type, "reject-peer");
  assert.equal(shown("client", web, 999).type, "reject-peer", "a set that nobody knows admits nobody");
  assert.equal(shown("server", "no certificate").type, "reject-peer");
  assert.deepEqual(rejected, ["foreign-trust-domain", "unexpected-identity", "unexpected-identity", "malformed"]);
});
