// Roots: exactly those that are named, per trust domain, and nothing installed that did not change (docs/reference/failures.md, D3
// and D6).
import assert from "node:assert/strict";
import { test } from "node:test";
import { HostileAuthority, uri } from "../../test/support/hostile-certificates.ts";
import { TrustBundle } from "./trust-bundle.ts";

const first = new HostileAuthority();
const second = new HostileAuthority();

function bundle(): { readonly bundle: TrustBundle; readonly installed: string[] } {
  const installed: string[] = [];
  return { bundle: new TrustBundle({ install: (pem) => void installed.push(pem) }), installed };
}
const count = (pem: string | undefined): number => pem?.match(/BEGIN CERTIFICATE/g)?.length ?? 0;

test("a root that is no longer named is no longer trusted", () => {
  const { bundle: roots, installed } = bundle();
  roots.update("cluster.local", [first.root.pem]);
  roots.update("cluster.local", [first.root.pem, second.root.pem]);
  roots.update("cluster.local", [second.root.pem]);
  assert.deepEqual(installed.map(count), [1, 2, 1]);
  assert.deepEqual(
    roots.view().map(({ trustDomain }) => trustDomain),
    ["cluster.local"],
  );
});

test("the same roots in another order are installed once", () => {
  const { bundle: roots, installed } = bundle();
  roots.update("cluster.local", [first.root.pem, second.root.pem]);
  roots.update("cluster.local", [second.root.pem, first.root.pem]);
  assert.deepEqual(installed.map(count), [2]);
});

test("domains do not touch each other", () => {
  const { bundle: roots } = bundle();
  roots.update("a.example", [first.root.pem]);
  roots.update("b.example", [second.root.pem]);
  roots.update("a.example", [second.root.pem]);
  assert.deepEqual(
    roots.view().map(({ trustDomain }) => trustDomain),
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
