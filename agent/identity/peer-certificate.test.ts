// The hostile-certificate generator against the reader of peers (docs/reference/failures.md, D1 and D2), and random damage.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  CLIENT_AUTH,
  dns,
  email,
  extendedUsage,
  extension,
  HostileAuthority,
  hostileSans,
  ip,
  keyUsage,
  san,
  uri,
} from "../../test/support/hostile-certificates.ts";
import { elements } from "./der.ts";
import { PeerCertificates, readPeerCertificate } from "./peer-certificate.ts";

const good = "spiffe://cluster.local/ns/shop/sa/web";
const authority = new HostileAuthority();

test("exactly one canonical URI SAN is an identity, whatever harmless names stand beside it", () => {
  for (const names of [[uri(good)], [dns("web.shop"), uri(good)], [uri(good), ip(10, 0, 0, 1), email("a@b.example")]]) {
    const read = readPeerCertificate(authority.named(...names).der);
    assert.ok("spiffeId" in read, JSON.stringify(read));
    assert.deepEqual(read.spiffeId, {
      text: good,
      trustDomain: "cluster.local",
      namespace: "shop",
      serviceAccount: "web",
    });
  }
});

for (const { name, names, reject } of hostileSans()) {
  test(`refused: ${name}`, () => {
    assert.deepEqual(readPeerCertificate(authority.named(...names).der), { reject });
  });
}

test("punycode is text like any other: it is never decoded into another domain", () => {
  const read = readPeerCertificate(authority.named(uri("spiffe://xn--bcher-kva.example/ns/a/sa/b")).der);
  assert.equal("spiffeId" in read ? read.spiffeId.trustDomain : read.reject, "xn--bcher-kva.example");
});

test("a certificate that may sign others is nobody's leaf", () => {
  const caTrue = extension("551d13", true, Buffer.from("30030101ff", "hex"));
  const cases = [
    [san(uri(good)), caTrue],
    [san(uri(good)), keyUsage(0x84)],
    [san(uri(good)), keyUsage(0x82)],
  ];
  for (const extensions of cases)
    assert.deepEqual(readPeerCertificate(authority.leaf({ extensions }).der), { reject: "not-a-leaf" });
  assert.deepEqual(readPeerCertificate(authority.root.der), { reject: "not-a-leaf" });
});

test("an extension that stands twice is malformed, also when both are equal", () => {
  const extensions = [san(uri(good)), san(uri(good)), extendedUsage(CLIENT_AUTH)];
  assert.deepEqual(readPeerCertificate(authority.leaf({ extensions }).der), { reject: "malformed" });
});

test("a certificate without extensions names nobody", () => {
  assert.deepEqual(readPeerCertificate(authority.leaf({ extensions: [] }).der), { reject: "no-uri-san" });
});

test("the generator's certificates are real: openssl verifies the chain of what we refuse", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "orlop-certs-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "root.pem"), authority.root.pem);
  for (const { name, names } of hostileSans().slice(0, 12)) {
    const leaf = authority.named(...names);
    writeFileSync(join(folder, "leaf.pem"), leaf.pem);
    const said = execFileSync("openssl", ["verify", "-CAfile", join(folder, "root.pem"), join(folder, "leaf.pem")], {
      encoding: "utf8",
    });
    assert.match(said, /OK/, name);
    assert.equal(new X509Certificate(leaf.der).verify(new X509Certificate(authority.root.der).publicKey), true, name);
  }
});

test("damaged bytes never throw and never become another identity", () => {
  const { der: leaf } = authority.named(uri(good));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(leaf.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }),
      fc.option(fc.nat(leaf.length)),
      (changes, cut) => {
        const bytes = Uint8Array.from(leaf);
        for (const [at, byte] of changes) bytes[at] = byte;
        const read = readPeerCertificate(cut === null ? bytes : bytes.subarray(0, cut));
        if ("spiffeId" in read)
          assert.match(read.spiffeId.text, /^spiffe:\/\/[a-z0-9._-]+\/ns\/[a-z0-9-]+\/sa\/[a-z0-9.-]+$/);
      },
    ),
    { numRuns: 5_000 },
  );
});

test("random bytes never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.ok("reject" in readPeerCertificate(bytes));
      elements(bytes);
    }),
    { numRuns: 5_000 },
  );
});

test("DER that can be read two ways is not read", () => {
  for (const hex of [
    "3080020101" + "0000", // indefinite length
    "30810302" + "0101", // long form for a short length
    "3082000302" + "0101", // leading zero in the length
    "30030201", // longer than what there is
    "1f8101020101", // tag in more than one byte
    "3085000000000302" + "0101", // five length bytes
    "30",
  ]) {
    assert.equal(elements(Buffer.from(hex, "hex")), undefined, hex);
  }
  assert.deepEqual(elements(Buffer.alloc(0)), []);
});

test("what was read is remembered, and no more of it than the limit", () => {
  const memory = new PeerCertificates(3);
  const leaves = Array.from(
    { length: 5 },
    (_, i) => authority.named(uri(`spiffe://cluster.local/ns/shop/sa/s${i}`)).der,
  );
  for (const leaf of leaves) memory.read(leaf);
  assert.equal(memory.size, 3);
  const [first] = leaves;
  assert.ok(first);
  assert.equal(memory.read(first), memory.read(Uint8Array.from(first)));
});

test("a leaf larger than any genuine one is refused unread", () => {
  const many = Array.from({ length: 2_000 }, (_, i) => dns(`host-${i}.example`));
  assert.deepEqual(readPeerCertificate(authority.named(uri(good), ...many).der), { reject: "too-large" });
});
