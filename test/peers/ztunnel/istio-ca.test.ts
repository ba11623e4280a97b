import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { newRequest } from "../../../agent/identity/csr.ts";
import { makeCertificates, signLeaf } from "../../../bench/world/certificates.ts";
import { fieldsOf, grpcMessage, numberField, stringField } from "./protobuf.ts";

const identity = "spiffe://cluster.local/ns/bench/sa/client";
let folder: string;
let authority: ChildProcess;
let session: ClientHttp2Session;
let rootFile: string;

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "orlop-istio-ca-"));
  rootFile = makeCertificates(folder).ca;
  const ca = { certificate: rootFile, key: path.join(folder, "ca.key") };
  const own = signLeaf(folder, ca, { name: "authority", san: "DNS:localhost,IP:127.0.0.1" });
  const port = await freePort();
  const program = fileURLToPath(new URL("./istio-ca.ts", import.meta.url));
  const words = ["127.0.0.1", String(port), ca.certificate, ca.key, own.certificate, own.key];
  authority = spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  if (authority.stdout === null) throw new Error("no output");
  const ended = once(authority, "exit").then(([status]) => assert.fail(`the authority ended with ${status}`));
  await Promise.race([once(authority.stdout, "data"), ended]);
  ended.catch(() => {});
  session = connect(`https://localhost:${port}`, { ca: readFileSync(rootFile) });
});
after(() => {
  session?.destroy();
  authority?.kill();
  rmSync(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

async function ask(message: Buffer): Promise<{ body: Buffer; trailers: IncomingHttpHeaders }> {
  const stream = session.request({
    ...{ ":method": "POST", ":path": "/istio.v1.auth.IstioCertificateService/CreateCertificate" },
    ...{ "content-type": "application/grpc", te: "trailers", authorization: "Bearer none" },
  });
  let trailers: IncomingHttpHeaders = {};
  stream.on("trailers", (got: IncomingHttpHeaders) => {
    trailers = got;
  });
  stream.end(grpcMessage(message));
  const body = await buffer(stream);
  return { body, trailers };
}

test("a request is answered with its leaf and the root, valid as long as asked", async () => {
  const { csrPem, key } = await newRequest(identity);
  key.wipe();
  const { body, trailers } = await ask(Buffer.concat([stringField(1, csrPem), numberField(3, 600)]));
  assert.equal(trailers["grpc-status"], "0", String(trailers["grpc-message"]));
  const [leafPem, rootPem] = fieldsOf(body.subarray(5)).map(({ value }) => value.toString());
  const leaf = new X509Certificate(leafPem ?? "");
  assert.equal(leaf.subjectAltName, `URI:${identity}`);
  assert.ok(leaf.verify(new X509Certificate(readFileSync(rootFile)).publicKey));
  assert.equal(rootPem, readFileSync(rootFile, "utf8"));
  const seconds = (Date.parse(leaf.validTo) - Date.now()) / 1000;
  assert.ok(seconds > 500 && seconds <= 601, String(seconds));
});

test("what is no request is refused", async () => {
  for (const message of [Buffer.alloc(0), stringField(1, "no request"), Buffer.from([0x0a, 0x7f])]) {
    assert.equal((await ask(message)).trailers["grpc-status"], "3");
  }
});
