// Roots: overlap during a change, per trust domain, and nothing installed that did not change (docs/reference/failures.md, D3 and D6).
import assert from "node:assert/strict";
import { test } from "node:test";
import { HostileAuthority, uri } from "../../test/support/hostile-certificates.ts";
import { TrustBundle } from "./trust-bundle.ts";

const first = new HostileAuthority();
const second = new HostileAuthority();
const OVERLAP = 1_000;

function bundle(): { readonly bundle: TrustBundle; readonly installed: string[]; turn: (ms: number) => void } {
  const installed: string[] = [];
  let now = 0;
  return {
    bundle: new TrustBundle(
      { overlapMs: OVERLAP },
      { monotonicMs: () => now, install: (pem) => void installed.push(pem) },
    ),
    installed,
    turn: (ms) => {
      now += ms;
    },
  };
}
const count = (pem: string | undefined): number => pem?.match(/BEGIN CERTIFICATE/g)?.length ?? 0;

test("an old root stays for the overlap and goes after it", () => {
  const { bundle: roots, installed, turn } = bundle();
  roots.update("cluster.local", [first.root.pem]);
  roots.update("cluster.local", [second.root.pem]);
  assert.deepEqual(installed.map(count), [1, 2]);
  assert.deepEqual(
    roots.view().map((one) => one.retiring),
    [false, true],
  );
  turn(OVERLAP - 1);
  roots.update("cluster.local", [second.root.pem]);
  assert.equal(installed.length, 2);
  turn(1);
  roots.update("cluster.local", [second.root.pem]);
  assert.deepEqual(installed.map(count), [1, 2, 1]);
});

test("both orders: named again before the overlap ends, a root is as good as new", () => {
  const { bundle: roots, installed, turn } = bundle();
  roots.update("cluster.local", [first.root.pem]);
  roots.update("cluster.local", [second.root.pem]);
  roots.update("cluster.local", [first.root.pem, second.root.pem]);
  turn(OVERLAP * 2);
  roots.update("cluster.local", [second.root.pem, first.root.pem]);
  assert.deepEqual(installed.map(count), [1, 2]);
});

test("domains do not touch each other", () => {
  const { bundle: roots, turn } = bundle();
  roots.update("a.example", [first.root.pem]);
  roots.update("b.example", [second.root.pem]);
  roots.update("a.example", [second.root.pem]);
  turn(OVERLAP);
  roots.update("a.example", [second.root.pem]);
  assert.deepEqual(
    roots.view().map((one) => one.trustDomain),
    ["a.example", "b.example"],
  );
  assert.equal(count(roots.pem()), 1);
});

test("nothing, a leaf, or what is no certificate changes nothing", () => {
  const { bundle: roots, installed } = bundle();
  roots.update("cluster.local", [first.root.pem]);
  assert.throws(() => roots.update("cluster.local", []), /no root/);
  const leaf = second.named(uri("spiffe://cluster.local/ns/a/sa/b")).pem;
  assert.throws(() => roots.update("cluster.local", [second.root.pem, leaf]), /may not sign/);
  assert.throws(() => roots.update("cluster.local", ["-----BEGIN CERTIFICATE-----"]));
  assert.deepEqual(installed.map(count), [1]);
});
