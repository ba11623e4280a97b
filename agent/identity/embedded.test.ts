// The embedded authority, checked by openssl and node:crypto, which share no code with it; and how strictly it keeps its file.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect, createServer, type SecureContextOptions, type TLSSocket } from "node:tls";
import { getHeapSnapshot } from "node:v8";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { EmbeddedAuthority } from "./embedded.ts";
import { readPeerCertificate } from "./peer-certificate.ts";

const web = spiffeId("cluster.local", "shop", "web");
const never = new AbortController().signal;

function scratch(t: TestContext): { readonly folder: string; readonly rootFile: string } {
  const folder = mkdtempSync(join(tmpdir(), "orlop-ca-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return { folder, rootFile: join(folder, "root.pem") };
}

function authority(rootFile: string, leafTtlSeconds = 86_400, wallMs = Date.now): EmbeddedAuthority {
  return new EmbeddedAuthority({ rootFile, leafTtlSeconds, trustDomain: "cluster.local" }, { wallMs });
}

test("openssl and node:crypto accept the chain, and the leaf says what it should", async (t) => {
  const { folder, rootFile } = scratch(t);
  const ca = authority(rootFile);
  const issued = await ca.issue(web, never);
  const [root = ""] = await ca.roots();
  writeFileSync(join(folder, "roots.pem"), root);
  writeFileSync(join(folder, "leaf.pem"), issued.chainPem);
  for (const purpose of ["sslclient", "sslserver"]) {
    const args = [
      "verify",
      "-x509_strict",
      "-purpose",
      purpose,
      "-CAfile",
      join(folder, "roots.pem"),
      join(folder, "leaf.pem"),
    ];
    assert.match(execFileSync("openssl", args, { encoding: "utf8" }), /OK/, purpose);
  }
  const text = execFileSync("openssl", ["x509", "-noout", "-text", "-in", join(folder, "leaf.pem")], {
    encoding: "utf8",
  });
  assert.match(text, /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/);
  assert.match(text, /Key Usage: critical\s+Digital Signature\n/);
  assert.match(text, /Extended Key Usage: *\n\s+TLS Web Client Authentication, TLS Web Server Authentication\n/);
  assert.match(text, /CA:FALSE/);
  assert.match(text, /ASN1 OID: prime256v1/);
  assert.match(text, /Subject: *\n/);

  const leaf = new X509Certificate(issued.chainPem);
  assert.equal(leaf.verify(new X509Certificate(root).publicKey), true);
  assert.equal(leaf.checkIssued(new X509Certificate(root)), true);
  assert.equal(leaf.subjectAltName, `URI:${web.text}`);
  const key = issued.key.take((pkcs8) => createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" }));
  assert.equal(leaf.checkPrivateKey(key), true);
  assert.equal(leaf.validToDate.getTime(), issued.notAfterMs);
  assert.equal(leaf.validFromDate.getTime(), issued.notBeforeMs);
  const lifeMs = issued.notAfterMs - Date.now();
  assert.ok(lifeMs > 86_300_000 && lifeMs <= 86_400_000, "24 h by default");
  const backMs = Date.now() - issued.notBeforeMs;
  assert.ok(backMs >= 300_000 && backMs < 400_000, "five minutes back, for peers whose clocks are behind");
  const read = readPeerCertificate(leaf.raw);
  assert.equal("spiffeId" in read ? read.spiffeId.text : read.reject, web.text);
});

test("serials and keys are new each time", async (t) => {
  const ca = authority(scratch(t).rootFile);
  const all = await Promise.all(Array.from({ length: 20 }, () => ca.issue(web, never)));
  const leaves = all.map((one) => new X509Certificate(one.chainPem));
  assert.equal(new Set(leaves.map((one) => one.serialNumber)).size, 20);
  assert.equal(new Set(leaves.map((one) => one.publicKey.export({ type: "spki", format: "pem" }))).size, 20);
});

test("nodes that start together come to share one root, and leave no draft behind", async (t) => {
  const { folder, rootFile } = scratch(t);
  const roots = await Promise.all(Array.from({ length: 8 }, () => authority(rootFile).roots()));
  assert.equal(new Set(roots.flat()).size, 1);
  assert.equal(statSync(rootFile).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(folder), ["root.pem"]);
});

test("a file that others could read, write or replace is refused, with the command that mends it", async (t) => {
  const { folder, rootFile } = scratch(t);
  await authority(rootFile).roots();
  for (const mode of [0o640, 0o604, 0o660, 0o666, 0o644]) {
    chmodSync(rootFile, mode);
    await assert.rejects(authority(rootFile).issue(web, never), /chmod 0600/, mode.toString(8));
  }
  chmodSync(rootFile, 0o600);
  chmodSync(folder, 0o777);
  await assert.rejects(authority(rootFile).roots(), /chmod go-w/);
  chmodSync(folder, 0o700);
  const link = join(folder, "link.pem");
  symlinkSync(rootFile, link);
  await assert.rejects(authority(link).roots(), { code: "ELOOP" });
  mkdirSync(join(folder, "directory.pem"));
  await assert.rejects(authority(join(folder, "directory.pem")).roots(), /not a regular file/);
});

test("a file of another owner is refused", { skip: process.geteuid?.() !== 0 && "needs root" }, async (t) => {
  const { rootFile } = scratch(t);
  await authority(rootFile).roots();
  execFileSync("chown", ["65534", rootFile]);
  await assert.rejects(authority(rootFile).roots(), /belongs to user 65534/);
});

test("a file that is not one key and its certificate is refused with its name", async (t) => {
  const { rootFile } = scratch(t);
  const other = scratch(t).rootFile;
  await authority(rootFile).roots();
  await authority(other).roots();
  const [mine, theirs] = [readFileSync(rootFile, "utf8"), readFileSync(other, "utf8")];
  const key = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/;
  const swapped = mine.replace(key, key.exec(theirs)?.[0] ?? "");
  for (const [content, why] of [
    ["", /must hold one/],
    [mine.replace(key, ""), /must hold one/],
    [key.exec(mine)?.[0] ?? "", /CERTIFICATE/],
    [mine + theirs, /must hold one/],
    [swapped, /does not belong/],
    [mine.replaceAll("A", "B"), /root\.pem/],
  ] as const) {
    writeFileSync(rootFile, content);
    await assert.rejects(authority(rootFile).issue(web, never), why);
  }
});

test("a root that was replaced is used without a restart; further roots in the file are trusted beside it", async (t) => {
  const { rootFile } = scratch(t);
  const fresh = scratch(t).rootFile;
  const ca = authority(rootFile);
  const [old = ""] = await ca.roots();
  await authority(fresh).roots();
  writeFileSync(`${rootFile}.new`, `${readFileSync(fresh, "utf8")}${old}\n`, { mode: 0o600 });
  renameSync(`${rootFile}.new`, rootFile);
  const roots = await ca.roots();
  assert.equal(roots.length, 2);
  assert.equal(roots[1], old);
  const leaf = new X509Certificate((await ca.issue(web, never)).chainPem);
  assert.equal(leaf.verify(new X509Certificate(roots[0] ?? "").publicKey), true);
});

test("what is missing from a file that is wrong, gone or half written is no removal, and it is renewed from memory", async (t) => {
  const { rootFile } = scratch(t);
  const fresh = scratch(t).rootFile;
  await authority(rootFile).roots();
  const [other = ""] = await authority(fresh).roots();
  const whole = `${readFileSync(rootFile, "utf8")}${other}\n`;
  writeFileSync(rootFile, whole);
  const ca = authority(rootFile);
  assert.equal((await ca.roots()).length, 2);
  const replace = (text: string): void => {
    writeFileSync(`${rootFile}.new`, text, { mode: 0o600 });
    renameSync(`${rootFile}.new`, rootFile);
  };
  const end = "-----END CERTIFICATE-----";
  const lastCertificate = whole.lastIndexOf("-----BEGIN CERTIFICATE-----");
  for (const wrong of [
    "",
    whole.slice(0, 40),
    whole.slice(0, whole.lastIndexOf(end)),
    whole.slice(0, whole.lastIndexOf(end) + 10),
    whole.slice(0, lastCertificate + 100),
    whole.slice(0, lastCertificate + 10),
    whole.replaceAll("A", "B"),
  ]) {
    replace(wrong);
    await assert.rejects(ca.roots(), /root\.pem/, JSON.stringify(wrong.slice(-40)));
    await ca.issue(web, never);
  }
  rmSync(rootFile);
  await assert.rejects(ca.roots(), /has gone/);
  await ca.issue(web, never);
  replace(whole);
  assert.equal((await ca.roots()).length, 2);
  replace(readFileSync(fresh, "utf8"));
  assert.equal((await ca.roots()).length, 1, "a file that was replaced is taken at once");
});

test("a file that is written in place is read once it is still", async (t) => {
  const { rootFile } = scratch(t);
  const other = scratch(t).rootFile;
  const [more = ""] = await authority(other).roots();
  let now = Date.now() + 10_000;
  const ca = authority(rootFile, 86_400, () => now);
  const [own = ""] = await ca.roots();
  const text = readFileSync(rootFile, "utf8");
  writeFileSync(rootFile, `${text}${more}\n`);
  assert.deepEqual(await ca.roots(), [own, more]);
  writeFileSync(rootFile, text);
  now = statSync(rootFile).mtimeMs + 900;
  assert.deepEqual(await ca.roots(), [own, more]);
  now += 101;
  assert.deepEqual(await ca.roots(), [own]);
});

test("an intermediate signs and travels with the leaf; openssl verifies up to its root", async (t) => {
  const { folder, rootFile } = scratch(t);
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): string =>
    execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  for (const name of ["root", "mid"])
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", at(`${name}.key`));
  openssl(
    "req",
    "-x509",
    "-new",
    "-key",
    at("root.key"),
    "-subj",
    "/CN=their root",
    "-addext",
    "keyUsage=critical,keyCertSign",
    "-days",
    "10",
    "-out",
    at("their.pem"),
  );
  openssl("req", "-new", "-key", at("mid.key"), "-subj", "/CN=their intermediate", "-out", at("mid.csr"));
  writeFileSync(
    at("ext"),
    "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
  );
  openssl(
    "x509",
    "-req",
    "-in",
    at("mid.csr"),
    "-CA",
    at("their.pem"),
    "-CAkey",
    at("root.key"),
    "-CAcreateserial",
    "-days",
    "5",
    "-extfile",
    at("ext"),
    "-out",
    at("mid.pem"),
  );
  const pem = ["mid.key", "mid.pem", "their.pem"].map((name) => readFileSync(at(name), "utf8")).join("");
  writeFileSync(rootFile, pem, { mode: 0o600 });
  const issued = await authority(rootFile).issue(web, never);
  const [leaf = "", intermediate = ""] = issued.chainPem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? [];
  writeFileSync(at("leaf.pem"), leaf);
  writeFileSync(at("chain.pem"), intermediate);
  assert.match(
    openssl("verify", "-x509_strict", "-CAfile", at("their.pem"), "-untrusted", at("chain.pem"), at("leaf.pem")),
    /OK/,
  );
});

test("no leaf outlives its issuer, and an expired root issues nothing", async (t) => {
  const { rootFile } = scratch(t);
  await authority(rootFile).roots();
  const root = new X509Certificate(/-----BEGIN CERT[\s\S]+/.exec(readFileSync(rootFile, "utf8"))?.[0] ?? "");
  const end = root.validToDate.getTime();
  const late = await authority(rootFile, 86_400, () => end - 3_600_000).issue(web, never);
  assert.ok(late.notAfterMs <= end);
  await assert.rejects(authority(rootFile, 86_400, () => end + 1).issue(web, never), /expired/);
});

test("an identity of another trust domain is not signed", async (t) => {
  await assert.rejects(
    authority(scratch(t).rootFile).issue(spiffeId("other.example", "shop", "web"), never),
    /not of other\.example/,
  );
});

test("two leaves meet in TLS 1.3 with certificates on both sides; a leaf of another root is refused", async (t) => {
  const ca = authority(scratch(t).rootFile);
  const stranger = authority(scratch(t).rootFile);
  const roots = await ca.roots();
  const options = async (from: EmbeddedAuthority): Promise<SecureContextOptions> => {
    const issued = await from.issue(web, never);
    const key = issued.key.take((pkcs8) => createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" }));
    const pem = key.export({ type: "pkcs8", format: "pem" });
    return { key: pem, cert: issued.chainPem, ca: [...roots], minVersion: "TLSv1.3" };
  };
  // Accepted first and asked about afterwards, so that the reason is seen.
  const server = createServer({ ...(await options(ca)), requestCert: true, rejectUnauthorized: false });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  const meet = async (from: EmbeddedAuthority): Promise<TLSSocket> => {
    const accepted = once(server, "secureConnection");
    // Identities are in the URI; host names are not looked at, as between agents.
    const client = connect({ ...(await options(from)), port, host: "127.0.0.1", checkServerIdentity: () => undefined });
    t.after(() => client.destroy());
    await once(client, "secureConnect");
    const [peer] = await accepted;
    t.after(() => peer.destroy());
    return peer;
  };
  const friend = await meet(ca);
  assert.equal(friend.authorized, true);
  assert.equal(friend.getProtocol(), "TLSv1.3");
  const read = readPeerCertificate(friend.getPeerX509Certificate()?.raw ?? new Uint8Array());
  assert.equal("spiffeId" in read ? read.spiffeId.text : read.reject, web.text);
  const foe = await meet(stranger);
  assert.equal(foe.authorized, false);
  assert.match(String(foe.authorizationError), /ISSUER|SIGNATURE|VERIFY/);
});

test("no key, of the root or of a leaf, is in a heap snapshot (D10)", async (t) => {
  const { rootFile } = scratch(t);
  const ca = authority(rootFile);
  const issued = await ca.issue(web, never);
  await authority(rootFile).roots();
  const snapshot: Buffer[] = [];
  for await (const chunk of getHeapSnapshot()) snapshot.push(Buffer.from(chunk));
  const heap = Buffer.concat(snapshot);
  assert.ok(heap.includes(Buffer.from(web.text)), "the search finds what is there");
  // Read as bytes, line by line, so that this test does not put there what it looks for.
  const file = readFileSync(rootFile);
  // The first 48 digits are the same in every P-256 key; the secret begins after them.
  const begin = file.indexOf("\n") + 1;
  const end = file.indexOf("\n-----END PRIVATE KEY-----");
  assert.equal(heap.indexOf(file.subarray(begin + 48, begin + 64)), -1, "the root's key, first line");
  for (let at = begin + 65; at + 32 < end; at += 65)
    assert.equal(heap.indexOf(file.subarray(at, at + 32)), -1, "the root's key");
  issued.key.take((pkcs8) => {
    const middle = Buffer.from(pkcs8.subarray(40, 60));
    for (const encoding of ["base64", "hex"] as const)
      assert.equal(heap.indexOf(middle.toString(encoding).slice(0, 24)), -1);
  });
});
