// Requests for certificates as OpenSSL writes them, which ask for more than an identity; and frames that are no single message: the leaf has
// the identity and nothing else, or there is none.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { ClientHttp2Session, IncomingHttpHeaders } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import {
  CREATE_CERTIFICATE,
  decodeCertificateAnswer,
  encodeCertificateRequest,
} from "../identity/certificate-messages.ts";
import { frameGrpcMessage, onlyGrpcMessage } from "../identity/grpc-message.ts";
import { setUp, web } from "./server.fake.ts";

type Said = { readonly status: string; readonly chain: readonly string[] };

async function send(session: ClientHttp2Session, body: Uint8Array, headers: IncomingHttpHeaders = {}): Promise<Said> {
  const stream = session.request({
    ...{ ":method": "POST", ":path": CREATE_CERTIFICATE, "content-type": "application/grpc", te: "trailers" },
    ...{ authorization: "Bearer token-a", ...headers },
  });
  let said: IncomingHttpHeaders = {};
  for (const name of ["response", "trailers"] as const)
    stream.on(name, (got: IncomingHttpHeaders) => {
      said = { ...said, ...got };
    });
  stream.on("error", () => {});
  stream.end(body);
  const bytes = await buffer(stream).catch(() => Buffer.alloc(0));
  const message = onlyGrpcMessage(bytes);
  const status = `${said["grpc-status"]} ${decodeURIComponent(String(said["grpc-message"] ?? ""))}`;
  return { status, chain: (message && decodeCertificateAnswer(message)) ?? [] };
}

const bodyOf = (csrPem: string): Uint8Array =>
  frameGrpcMessage(encodeCertificateRequest({ csrPem, validitySeconds: 600, impersonatedIdentity: web.text }));

const folder = mkdtempSync(join(tmpdir(), "orlop-requests-"));
process.once("exit", () => rmSync(folder, { recursive: true }));

/** @param key arguments of `openssl genpkey`. @param extensions lines of a section of OpenSSL's configuration */
function requestBy(key: readonly string[], subject: string, extensions: string, digest = "-sha256"): string {
  const [keyFile, configuration] = [join(folder, "key.pem"), join(folder, "request.cnf")];
  execFileSync("openssl", ["genpkey", "-quiet", ...key, "-out", keyFile], { stdio: ["ignore", "ignore", "ignore"] });
  writeFileSync(
    configuration,
    `[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n${subject}\n[ext]\n${extensions}\n`,
  );
  const asked = ["req", "-new", "-key", keyFile, "-config", configuration, digest];
  return execFileSync("openssl", asked, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

const P256 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const own = `subjectAltName=URI:${web.text}`;

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const size = content.length;
  const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));

/** A request (RFC 2986 section 4) for the identity, of a key whose private half nobody need have, under a signature of noise. */
function unsignedRequest(key: KeyObject): string {
  const names = der(0x30, der(0x86, Buffer.from(web.text)));
  const extension = der(0x30, oid("551d11"), der(0x04, names));
  const attribute = der(0x30, oid("2a864886f70d01090e"), der(0x31, der(0x30, extension)));
  const spki = key.export({ type: "spki", format: "der" });
  const body = der(0x30, der(0x02, Buffer.from([0])), der(0x30), spki, der(0xa0, attribute));
  const noise = der(0x30, der(0x02, Buffer.alloc(32, 0x11)), der(0x02, Buffer.alloc(32, 0x22)));
  const whole = der(0x30, body, der(0x30, oid("2a8648ce3d040302")), der(0x03, Buffer.from([0]), noise));
  return `-----BEGIN CERTIFICATE REQUEST-----\n${whole.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
}

const rsaKey = (bits: number): KeyObject =>
  createPublicKey({
    format: "jwk",
    key: { kty: "RSA", e: "AQAB", n: Buffer.alloc(bits / 8, 0xc5).toString("base64url") },
  });

test("what a request asks for beside its identity is not in the certificate", async (t) => {
  const { session: opened } = await setUp(t);
  const asked = [
    requestBy(P256, "CN=kube-apiserver\nO=system:masters", own),
    requestBy(P256, "CN=x", `${own}\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign`),
    requestBy(P256, "CN=x", `${own}\nextendedKeyUsage=codeSigning\nnameConstraints=permitted;DNS:.example`),
  ];
  for (const csrPem of asked) {
    const { status, chain } = await send(opened(), bodyOf(csrPem));
    assert.equal(status, "0 ");
    const leaf = new X509Certificate(chain[0] ?? "");
    assert.equal(leaf.subject ?? "", "");
    assert.equal(leaf.subjectAltName, `URI:${web.text}`);
    assert.equal(leaf.ca, false);
    assert.deepEqual(leaf.keyUsage, ["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]);
    assert.doesNotMatch(leaf.toLegacyObject().raw.toString("latin1"), /masters|example/);
  }
});

test("a request of several names, of a key that cannot be used, or under no signature of its key is refused", async (t) => {
  const { session: opened } = await setUp(t);
  const many = Array.from({ length: 150 }, (_, at) => `URI:spiffe://cluster.local/ns/shop/sa/s${at}`);
  const explicit = [...P256, "-pkeyopt", "ec_param_enc:explicit"];
  const cases: readonly (readonly [string, string])[] = [
    ["its own name and another's", requestBy(P256, "CN=x", `${own},URI:spiffe://cluster.local/ns/shop/sa/api`)],
    ["its own name twice", requestBy(P256, "CN=x", `${own},URI:${web.text}`)],
    ["a name of DNS beside it", requestBy(P256, "CN=x", `${own},DNS:api.shop.svc`)],
    ["an address beside it", requestBy(P256, "CN=x", `${own},IP:10.0.0.1`)],
    ["a name in another case", requestBy(P256, "CN=x", `subjectAltName=URI:${web.text.toUpperCase()}`)],
    ["the name as DNS", requestBy(P256, "CN=x", `subjectAltName=DNS:${web.text}`)],
    ["the name in the subject alone", requestBy(P256, `CN=${web.text}`, "basicConstraints=CA:FALSE")],
    ["150 names", requestBy(P256, "CN=x", `subjectAltName=${many.join(",")}`)],
    ["a key of 16,384 bits", unsignedRequest(rsaKey(16_384))],
    ["a key of 512 bits", unsignedRequest(rsaKey(512))],
    ["X25519, which signs nothing", unsignedRequest(generateKeyPairSync("x25519").publicKey)],
    ["a curve of its own making", requestBy(explicit, "CN=x", own)],
    ["secp256k1", requestBy(["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "CN=x", own)],
    ["Ed448", requestBy(["-algorithm", "ED448"], "CN=x", own)],
    ["a key that did not sign it", unsignedRequest(generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey)],
  ];
  for (const [what, csrPem] of cases) {
    const { status, chain } = await send(opened(), bodyOf(csrPem));
    assert.match(status, /^3 /, what);
    assert.deepEqual(chain, [], what);
  }
  assert.equal((await send(opened(), bodyOf(requestBy(P256, "CN=x", own)))).status, "0 ");
});

test("a body that is not exactly one message as it is written is refused", async (t) => {
  const { session: opened } = await setUp(t);
  const good = bodyOf(requestBy(P256, "CN=x", own));
  const packed = gzipSync(good.subarray(5));
  const compressed = Buffer.concat([Buffer.from([1, 0, 0, 0, packed.length]), packed]);
  compressed.writeUInt32BE(packed.length, 1);
  const bomb = gzipSync(Buffer.alloc(8 * 1024 * 1024));
  const exploding = Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), bomb]);
  exploding.writeUInt32BE(bomb.length, 1);
  const lengthOf = (length: number): Buffer => {
    const changed = Buffer.from(good);
    changed.writeUInt32BE(length, 1);
    return changed;
  };
  for (const [what, body] of [
    ["compressed", compressed],
    ["eight MiB of zeros, compressed", exploding],
    ["two messages", Buffer.concat([good, good])],
    ["a byte more", Buffer.concat([good, Buffer.alloc(1)])],
    ["a byte less", good.subarray(0, -1)],
    ["a length of 4 GiB", lengthOf(0xffff_ffff)],
    ["a length of 0", lengthOf(0)],
  ] as const) {
    const { status, chain } = await send(opened(), body, { "grpc-encoding": "gzip" });
    assert.match(status, /^3 /, what);
    assert.deepEqual(chain, [], what);
  }
  assert.equal((await send(opened(), good)).status, "0 ");
});
