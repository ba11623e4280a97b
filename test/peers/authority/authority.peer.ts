// test peers · grpcio and protobuf for Python judge the certificate service: the bytes of its messages, our client against their server, and
// their client against our server.
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { after, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { FakeApi, type FakePod } from "../../../agent/authority/api.fake.ts";
import { CertificateService } from "../../../agent/authority/certificate-service.ts";
import { ClusterApi } from "../../../agent/authority/cluster.ts";
import { RateLimit } from "../../../agent/authority/rate-limit.ts";
import { AuthorityServer } from "../../../agent/authority/server.ts";
import { newRoot } from "../../../agent/identity/authority.fake.ts";
import {
  type CertificateRequest,
  decodeCertificateAnswer,
  decodeCertificateRequest,
  encodeCertificateAnswer,
  encodeCertificateRequest,
} from "../../../agent/identity/certificate-messages.ts";
import { newRequest, newServerCertificate, signLeaf } from "../../../agent/identity/csr.ts";
import { RemoteAuthority } from "../../../agent/identity/remote-authority.ts";
import { spiffeId } from "../../../agent/mesh/spiffe-id.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";

const RUNS = 3_000;
const DAY_MS = 86_400_000;
const python = path.join(built("authority"), "bin/python");
const judge = fileURLToPath(new URL("./judge.py", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "orlop-authority-peer-"));
const at = (name: string): string => path.join(folder, name);
after(() => rmSync(folder, { recursive: true }));

const life = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
const root = await newRoot();
writeFileSync(at("roots.pem"), root.pem);
const { certificatePem, keyPem } = await newServerCertificate(root.issuer, ["localhost"], life);
const web = spiffeId("cluster.local", "shop", "web");
const never = new AbortController().signal;

type Judge = { readonly child: ChildProcessByStdio<Writable, Readable, null>; readonly lines: Interface };

function start(t: TestContext, ...words: readonly string[]): Judge {
  // Without a cache beside the source: it is a checkout.
  const child = spawn(python, ["-B", judge, ...words], { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill());
  return { child, lines: createInterface({ input: child.stdout }) };
}

async function nextLine<T>({ lines }: Judge): Promise<T> {
  const { value, done } = await lines[Symbol.asyncIterator]().next();
  if (done) throw new Error("the judge ended");
  return JSON.parse(value) as T;
}

const texts = fc.string({ unit: "grapheme", maxLength: 12 });
const requests: fc.Arbitrary<CertificateRequest> = fc.record(
  { csrPem: texts, validitySeconds: fc.nat({ max: Number.MAX_SAFE_INTEGER }), impersonatedIdentity: texts },
  { noNullPrototype: true },
);
const chains = fc.array(texts, { maxLength: 16 });
/** With up to four bytes changed, and perhaps cut. */
const spoiled = (message: Uint8Array, changes: readonly (readonly [number, number])[], keep: number): Buffer => {
  const bytes = Buffer.from(message);
  for (const [place, byte] of changes) if (bytes.length > 0) bytes[place % bytes.length] = byte;
  return bytes.subarray(0, bytes.length - (keep % 4));
};
const spoils = fc.tuple(fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }), fc.nat({ max: 200 }));

peerCase(
  "authority",
  "protobuf's own library reads and writes each message as we do, and whatever we take it takes alike",
  async (t) => {
    const seed = Number(process.env.ORLOP_SEED ?? 20_261_128);
    const made = fc.sample(fc.tuple(requests, chains, spoils), { numRuns: RUNS, seed });
    const wholes = made.map(([request, chain, [changes, keep]], index) => {
      const [kind, message] =
        index % 3 === 0
          ? (["answer", encodeCertificateAnswer(chain)] as const)
          : (["request", encodeCertificateRequest(request)] as const);
      return { kind, message: index % 2 === 0 ? Buffer.from(message) : spoiled(message, changes, keep) };
    });
    const { child, lines } = start(t, "messages");
    const heard: string[] = [];
    lines.on("line", (line) => heard.push(line));
    const ended = new Promise((resolve) => lines.once("close", resolve));
    for (const { kind, message } of wholes)
      child.stdin.write(`${JSON.stringify({ [kind]: message.toString("hex") })}\n`);
    child.stdin.end();
    await ended;
    assert.equal(heard.length, RUNS);
    let both = 0;
    for (const [index, { kind, message }] of wholes.entries()) {
      const { read: theirs, written } = JSON.parse(heard[index] ?? "") as {
        readonly read: unknown;
        readonly written: string;
      };
      const ours = kind === "answer" ? decodeCertificateAnswer(message) : decodeCertificateRequest(message);
      const where = `seed ${seed}, message ${index}: ${kind} ${message.toString("hex")}`;
      if (index % 2 === 0) assert.notEqual(ours, undefined, where);
      if (ours === undefined) continue;
      assert.notEqual(theirs, null, where);
      both += 1;
      if (kind === "answer") {
        assert.deepEqual(theirs, ours, where);
        if (index % 2 === 0) assert.equal(written, message.toString("hex"), where);
        continue;
      }
      const { kind: type, ...request } = theirs as CertificateRequest & { readonly kind: string };
      assert.deepEqual(request, ours, where);
      assert.ok(type === "absent" || type === "string_value", where);
      if (index % 2 === 0) assert.equal(written, message.toString("hex"), where);
    }
    t.diagnostic(`${both} of ${RUNS} messages read by both`);
    assert.ok(both > RUNS / 2);
  },
);

type Called = { readonly code: string; readonly text: string; readonly chain: readonly string[] };

peerCase(
  "authority",
  "a client of grpcio gets a certificate from orlop control's server, and its refusals with their words",
  async (t) => {
    const api = new FakeApi();
    const agent: FakePod = { namespace: "orlop-system", name: "agent", uid: "u1", node: "a", account: "orlop-agent" };
    api.pods.push(agent, { namespace: "shop", name: "web-1", uid: "u2", node: "a", account: "web" });
    api.issueToken("token-a", agent);
    const plenty = () => new RateLimit({ perSecond: 100, burst: 100 });
    const { fingerprint256: fingerprint, validToDate } = new X509Certificate(root.pem);
    const signing = () => ({
      ...{ issuer: root.issuer, intermediatesPem: "", fingerprint, endsMs: validToDate.getTime() },
      named: [{ pem: root.pem, fingerprint }],
    });
    const service = new CertificateService(
      {
        trustDomain: "cluster.local",
        audience: "orlop-ca",
        agentAccounts: ["orlop-system/orlop-agent"],
        leafTtlSeconds: 3_600,
      },
      {
        api: new ClusterApi(api.ask),
        signing,
        perNode: plenty(),
        wallMs: Date.now,
        monotonicMs: () => performance.now(),
      },
    );
    const log = { info: () => {}, warn: () => {} };
    const server = new AuthorityServer(
      { service, perAddress: plenty(), monotonicMs: () => performance.now(), log },
      { cert: certificatePem, key: keyPem },
    );
    const port = await server.listen("127.0.0.1", 0);
    t.after(() => server.close());
    const { csrPem, key } = await newRequest(web.text);
    key.wipe();
    writeFileSync(at("csr.pem"), csrPem);
    const call = async (token: string, identity: string): Promise<Called> => {
      const { child } = start(t, "call", `localhost:${port}`, at("roots.pem"), token, at("csr.pem"), identity, "600");
      return JSON.parse(await text(child.stdout)) as Called;
    };
    const { code, chain } = await call("token-a", web.text);
    assert.equal(code, "OK");
    assert.equal(new X509Certificate(chain[0] ?? "").subjectAltName, `URI:${web.text}`);
    assert.equal(new X509Certificate(chain.at(-1) ?? "").fingerprint256, fingerprint);
    assert.equal((await call("another", web.text)).code, "UNAUTHENTICATED");
    const refused = await call("token-a", "spiffe://cluster.local/ns/shop/sa/vault");
    assert.deepEqual([refused.code, refused.text], ["PERMISSION_DENIED", "no pod of shop/vault is on the node a"]);
  },
);

peerCase(
  "authority",
  "a server of grpcio understands the agent's client, and its answers and refusals are understood",
  async (t) => {
    writeFileSync(at("server.pem"), certificatePem);
    writeFileSync(at("server.key"), keyPem);
    writeFileSync(at("token"), "token-of-the-agent\n");
    const running = start(t, "serve", at("server.pem"), at("server.key"));
    const { port } = await nextLine<{ readonly port: number }>(running);
    const client = new RemoteAuthority(
      {
        ...{
          address: `https://localhost:${port}`,
          tokenFile: at("token"),
          rootsFile: at("roots.pem"),
          serverRootsFile: "",
        },
        ...{ cluster: "c1", trustDomain: "cluster.local", leafTtlSeconds: 600 },
      },
      { wallMs: Date.now },
    );
    t.after(() => client.close());
    type Heard = { readonly request: CertificateRequest; readonly headers: Readonly<Record<string, string>> };
    const asking = client.issue(web, never);
    const { request, headers } = await nextLine<Heard>(running);
    assert.deepEqual([request.impersonatedIdentity, request.validitySeconds], [web.text, 600]);
    assert.deepEqual([headers.authorization, headers.clusterid], ["Bearer token-of-the-agent", "c1"]);
    const span = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 600_000) };
    const leaf = await signLeaf(root.issuer, { csrPem: request.csrPem, spiffeText: web.text, ...span });
    running.child.stdin.write(`${JSON.stringify({ chain: [leaf, root.pem] })}\n`);
    (await asking).key.wipe();
    const refused = client.issue(web, never);
    await Promise.all([
      assert.rejects(refused, /^Error: PERMISSION_DENIED: 100 % no: .$/u),
      nextLine<Heard>(running).then(() =>
        running.child.stdin.write(`${JSON.stringify({ code: "PERMISSION_DENIED", text: "100 % no: é" })}\n`),
      ),
    ]);
  },
);
