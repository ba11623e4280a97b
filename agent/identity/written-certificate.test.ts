// Certificates and requests that are written by hand, judged by OpenSSL's program and by another X.509 library.
import "reflect-metadata";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { certifyLeaf, newRequest, newRootPem, newServerCertificate, readAuthority } from "./csr.ts";
import { elements } from "./der.ts";
import { element, integer, time } from "./der-writer.ts";
import { readRequest, signLeaf } from "./foreign-request.ts";
import { altNames, certificatePem, emptyName, issuersKey, ownKey } from "./written-certificate.ts";

const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
const folder = mkdtempSync(join(tmpdir(), "orlop-certificates-"));
after(() => rmSync(folder, { recursive: true }));
const put = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const openssl = (...args: readonly string[]): string =>
  execFileSync("openssl", [...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

const web = "spiffe://cluster.local/ns/shop/sa/web";
const hour = 3_600_000;
const now = Math.floor(Date.now() / 1000) * 1000;
const life = { notBefore: new Date(now - hour), notAfter: new Date(now + hour) };

async function newAuthority(notAfter = new Date(now + 24 * hour)) {
  const text = (await newRootPem("cluster.local", new Date(now - 2 * hour), notAfter)).toString();
  const at = text.indexOf("-----BEGIN CERTIFICATE-----");
  return { authority: await readAuthority(Buffer.from(text.slice(0, at)), text.slice(at)), rootPem: text.slice(at) };
}

test("a request: OpenSSL verifies its signature, and both read the name and the key", async () => {
  const { csrPem, key } = await newRequest(web);
  key.wipe();
  const text = openssl("req", "-in", put("request.pem", csrPem), "-noout", "-text", "-verify");
  assert.match(text, /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/);
  assert.match(text, /Version: 1 /);
  assert.match(text, /Subject: *\n/);
  assert.deepEqual(readRequest(csrPem), { key: "ECDSA P-256", names: [web] });
});

test("a root, also one that ends when years have four digits, and a server's certificate for names and addresses", async () => {
  const { authority, rootPem } = await newAuthority(new Date(Date.UTC(2055, 3, 1)));
  assert.equal(new X509Certificate(rootPem).validToDate.getTime(), Date.UTC(2055, 3, 1));
  const hosts = ["localhost", "10.1.2.3", "fd00::17"];
  const { certificatePem: leaf } = await newServerCertificate(authority, hosts, life);
  const [root, server] = [put("root.pem", rootPem), put("server.pem", leaf)];
  assert.match(openssl("verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root, server), /OK/);
  assert.throws(() => openssl("verify", "-purpose", "sslclient", "-CAfile", root, server), "it is a server's alone");
  assert.match(openssl("x509", "-in", root, "-noout", "-text"), /CA:TRUE, pathlen:1[\s\S]*Certificate Sign, CRL Sign/);
  const parsed = new X509Certificate(leaf);
  assert.equal(parsed.subjectAltName, "DNS:localhost, IP Address:10.1.2.3, IP Address:FD00:0:0:0:0:0:0:17");
  assert.ok(hosts.slice(1).every((host) => parsed.checkIP(host) === host));
});

test("the issuer's own name for its key is repeated, whatever it is", async () => {
  const { authority } = await newAuthority();
  const publicKey = new Uint8Array(authority.certificate.publicKey.export({ type: "spki", format: "der" }));
  const fields = { ...life, serial: Uint8Array.of(1), issuer: emptyName, subject: emptyName, publicKey };
  const odd = element(
    0x30,
    element(0x06, Buffer.from("551d0e", "hex")),
    element(0x04, element(0x04, Uint8Array.of(1, 2, 3))),
  );
  const named = new X509Certificate(await certificatePem({ ...fields, extensions: [odd] }, authority.key));
  assert.ok(Buffer.from(issuersKey(named)).includes(Buffer.of(0x80, 3, 1, 2, 3)));
  const nameless = new X509Certificate(
    await certificatePem({ ...fields, extensions: [altNames([{ uri: web }], true)] }, authority.key),
  );
  assert.ok(Buffer.from(issuersKey(nameless)).includes(Buffer.from(ownKey(publicKey).slice(-20))));
});

test("what is no ASCII is refused, and no certificate names it", () => {
  for (const text of ["spiffe://ä/ns/a/sa/b", "spiffe://a b", "", "a\0b"])
    assert.throws(() => altNames([{ uri: text }], true), /cannot name/);
});

test(`random leaves: OpenSSL in strict mode and another library read what was asked for (seed ${seed})`, async () => {
  const { authority, rootPem } = await newAuthority();
  const root = put("roots.pem", rootPem);
  const word = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?$/);
  const cases = fc.record({
    namespace: word,
    account: word,
    seconds: fc.integer({ min: 1, max: 80_000 }),
    asked: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ namespace, account, seconds, asked }) => {
      const spiffeText = `spiffe://cluster.local/ns/${namespace}/sa/${account}`;
      const { csrPem, publicKey, key } = await newRequest(spiffeText);
      key.wipe();
      const span = { notBefore: new Date(now - 60_000), notAfter: new Date(now + seconds * 1000) };
      const pem = asked
        ? await signLeaf(authority, { csrPem, spiffeText, ...span })
        : await certifyLeaf(authority, { publicKey, spiffeText, ...span });
      const file = put("leaf.pem", `${pem}\n`);
      const at = ["-attime", String(now / 1000)];
      assert.match(openssl("verify", "-x509_strict", "-purpose", "sslclient", ...at, "-CAfile", root, file), /OK/);
      const read = new x509.X509Certificate(pem);
      assert.ok(
        await read.verify(
          {
            publicKey: await authority.certificate.publicKey.toCryptoKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
              "verify",
            ]),
            date: new Date(now),
          },
          webcrypto,
        ),
      );
      assert.deepEqual(Buffer.from(read.publicKey.rawData), Buffer.from(publicKey));
      assert.deepEqual(read.getExtension(x509.SubjectAlternativeNameExtension)?.names.toJSON(), [
        { type: "url", value: spiffeText },
      ]);
      assert.equal(read.getExtension(x509.SubjectAlternativeNameExtension)?.critical, true);
      assert.deepEqual([read.notBefore, read.notAfter], [span.notBefore, span.notAfter]);
      assert.equal(read.issuer, new x509.X509Certificate(rootPem).subject);
      assert.equal(read.extensions.length, 6);
      const bytes = Buffer.from(new X509Certificate(pem).raw);
      assert.deepEqual(Buffer.from(read.rawData), bytes);
    }),
    { seed, numRuns: 25 },
  );
});

test(`what is written is read back as DER, of any length (seed ${seed})`, () => {
  const length = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(127, 128, 255, 256, 65_535, 65_536));
  fc.assert(
    fc.property(length, (bytes) => {
      const content = randomBytes(bytes);
      const read = elements(element(0x04, content.subarray(0, bytes >> 1), content.subarray(bytes >> 1)));
      assert.deepEqual(
        read?.map(({ tag }) => tag),
        [0x04],
      );
      assert.ok(read?.[0] !== undefined && content.equals(read[0].content));
    }),
    { seed },
  );
});

test(`integers are the shortest and never negative (seed ${seed})`, () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const content = elements(integer(bytes))?.[0]?.content ?? assert.fail("no DER");
      const hex = (digits: Uint8Array): bigint => BigInt(`0x0${Buffer.from(digits).toString("hex")}`);
      assert.equal(hex(content), hex(bytes));
      assert.ok((content[0] ?? 0) < 0x80);
      assert.ok(content.length === 1 || content[0] !== 0 || (content[1] ?? 0) >= 0x80);
    }),
    { seed },
  );
});

test("years have two digits through 2049, and four from 2050 on", () => {
  const text = (date: Date): string => Buffer.from(time(date)).toString("latin1");
  assert.equal(text(new Date(Date.UTC(2049, 11, 31, 23, 59, 59, 999))), "\x17\x0d491231235959Z");
  assert.equal(text(new Date(Date.UTC(2050, 0, 1))), "\x18\x0f20500101000000Z");
});
