// The authority as its callers meet it: the agent's own client over TLS and HTTP/2, and callers that want what they may not have. The API
// server is a double; test/peers/authority asks real programs.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { describe, type TestContext, test } from "node:test";
import { newRoot } from "../identity/authority.fake.ts";
import { CREATE_CERTIFICATE, encodeCertificateRequest } from "../identity/certificate-messages.ts";
import { newRequest, newServerCertificate } from "../identity/csr.ts";
import { frameGrpcMessage } from "../identity/grpc-message.ts";
import { RemoteAuthority } from "../identity/remote-authority.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { FakeApi, type FakePod, jsonAnswer } from "./api.fake.ts";
import { CertificateService } from "./certificate-service.ts";
import { ClusterApi } from "./cluster.ts";
import { NotIssued } from "./not-issued.ts";
import { RateLimit } from "./rate-limit.ts";
import type { SigningRoot } from "./root.ts";
import { AuthorityServer } from "./server.ts";

const never = new AbortController().signal;
const DAY_MS = 86_400_000;
const root = await newRoot();
const { fingerprint256: fingerprint, validToDate } = new X509Certificate(root.pem);
const signingRoot: SigningRoot = {
  ...{ issuer: root.issuer, intermediatesPem: "", fingerprint, endsMs: validToDate.getTime() },
  named: [{ pem: root.pem, fingerprint }],
};
const web = spiffeId("cluster.local", "shop", "web");
const api = spiffeId("cluster.local", "shop", "api");
const agentOn = (node: string): FakePod => ({
  ...{ namespace: "orlop-system", name: `agent-${node}`, uid: `uid-${node}`, node, account: "orlop-agent" },
});
const pod = (account: string, node: string, more: Partial<FakePod> = {}): FakePod => ({
  ...{ namespace: "shop", name: `${account}-1`, uid: `uid-${account}`, node, account, ...more },
});

type SetUp = {
  readonly perAddress?: RateLimit;
  readonly perNode?: RateLimit;
  readonly signing?: () => SigningRoot;
  readonly concurrency?: number;
};

async function setUp(t: TestContext, more: SetUp = {}) {
  const cluster = new FakeApi();
  cluster.pods.push(agentOn("a"), agentOn("b"), pod("web", "a"), pod("api", "b"));
  cluster.issueToken("token-a", agentOn("a"));
  cluster.issueToken("token-b", agentOn("b"));
  const lines: string[] = [];
  const write = (message: string, fields: object = {}): void => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const plenty = () => new RateLimit({ perSecond: 1_000, burst: 1_000 });
  const service = new CertificateService(
    {
      trustDomain: "cluster.local",
      audience: "orlop-ca",
      agentAccounts: ["orlop-system/orlop-agent"],
      leafTtlSeconds: 3_600,
    },
    {
      ...{
        api: new ClusterApi(cluster.ask),
        signing: more.signing ?? (() => signingRoot),
        perNode: more.perNode ?? plenty(),
      },
      ...{ wallMs: Date.now, monotonicMs: () => performance.now() },
    },
  );
  const life = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const { certificatePem, keyPem } = await newServerCertificate(root.issuer, ["localhost"], life);
  const server = new AuthorityServer(
    {
      service,
      perAddress: more.perAddress ?? plenty(),
      monotonicMs: () => performance.now(),
      log: { info: write, warn: write },
      ...(more.concurrency === undefined ? {} : { concurrency: more.concurrency }),
    },
    { cert: certificatePem, key: keyPem },
  );
  const port = await server.listen("127.0.0.1", 0);
  t.after(() => server.close().catch(() => {}));
  const folder = mkdtempSync(join(tmpdir(), "orlop-control-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const rootsFile = join(folder, "roots.pem");
  writeFileSync(rootsFile, root.pem);
  /** The client of an agent that has this token. */
  const agent = (token: string): RemoteAuthority => {
    const tokenFile = join(folder, token);
    writeFileSync(tokenFile, token);
    const client = new RemoteAuthority(
      {
        ...{ address: `https://localhost:${port}`, tokenFile, rootsFile, serverRootsFile: "" },
        ...{ cluster: "c1", trustDomain: "cluster.local", leafTtlSeconds: 600 },
      },
      { wallMs: Date.now, random: () => 0 },
    );
    t.after(() => client.close());
    return client;
  };
  const session = (localAddress = "127.0.0.1"): ClientHttp2Session => {
    const options = { ca: root.pem, servername: "localhost", localAddress };
    const made = connect(`https://127.0.0.1:${port}`, options);
    t.after(() => made.destroy());
    return made;
  };
  return { cluster, agent, session, lines, port, server };
}

test("an agent gets the certificates of its node's pods, and one line says so of each", async (t) => {
  const { agent, lines } = await setUp(t);
  const issued = await agent("token-a").issue(web, never);
  issued.key.wipe();
  const leaf = new X509Certificate(issued.chainPem);
  assert.equal(leaf.subjectAltName, `URI:${web.text}`);
  assert.ok(leaf.verify(new X509Certificate(root.pem).publicKey));
  const lifeMs = issued.notAfterMs - Date.now();
  assert.ok(lifeMs > 590_000 && lifeMs <= 600_000, String(lifeMs));
  assert.deepEqual(
    lines.map((line) => line.replace(/"notAfter":"[^"]+"/, '"notAfter":"…"')),
    [
      `certificate issued {"identity":"${web.text}","account":"orlop-system/orlop-agent","agentPod":"orlop-system/agent-a","node":"a","pod":"shop/web-1","notAfter":"…","from":"127.0.0.1"}`,
    ],
  );
});

describe("a captured token of node a obtains nothing of node b", () => {
  test("asked as it is", async (t) => {
    const { agent, lines } = await setUp(t);
    await assert.rejects(agent("token-a").issue(api, never), /PERMISSION_DENIED: no pod of shop\/api is on the node a/);
    assert.match(
      lines.join(),
      /certificate refused .*"identity":"spiffe:\/\/cluster.local\/ns\/shop\/sa\/api".*"node":"a".*"PERMISSION_DENIED"/,
    );
  });

  test("nor once its pod has gone from there, is finished, or has the node's network", async (t) => {
    const { agent, cluster } = await setUp(t);
    const client = agent("token-a");
    for (const more of [{ node: "b" }, { phase: "Succeeded" }, { phase: "Failed" }, { hostNetwork: true }]) {
      cluster.pods.splice(2, 1, pod("web", "a", more));
      await assert.rejects(client.issue(web, never), /PERMISSION_DENIED: no pod of shop\/web/);
    }
    cluster.pods.splice(2, 1, pod("web", "a"));
    (await client.issue(web, never)).key.wipe();
  });

  test("a server that does not say the node: the token's pod does, and only while it lives under the same uid", async (t) => {
    const { agent, cluster } = await setUp(t);
    cluster.issueToken("old", agentOn("a"), { namesNode: false });
    const client = agent("old");
    (await client.issue(web, never)).key.wipe();
    await assert.rejects(client.issue(api, never), /no pod of shop\/api is on the node a/);
    cluster.pods.splice(0, 1, { ...agentOn("b"), name: "agent-a" });
    await assert.rejects(client.issue(api, never), /the token's pod is on no node/);
  });

  test("a token of another audience, another account, or none at all", async (t) => {
    const { agent, cluster } = await setUp(t);
    cluster.issueToken("api-token", agentOn("a"), { audience: "https://kubernetes.default.svc" });
    cluster.issueToken("web-token", { ...agentOn("a"), namespace: "shop", account: "web" });
    await assert.rejects(agent("api-token").issue(web, never), /UNAUTHENTICATED/);
    await assert.rejects(
      agent("web-token").issue(web, never),
      /PERMISSION_DENIED: the token is not of an agent's account/,
    );
    await assert.rejects(agent("unknown").issue(web, never), /UNAUTHENTICATED/);
  });
});

test("while the API server cannot say, nothing is signed", async (t) => {
  const { agent, cluster, lines } = await setUp(t);
  for (const fault of [
    () => jsonAnswer(503, {}),
    () => jsonAnswer(201, { kind: "TokenReview" }),
    () => ({ ...jsonAnswer(200, {}), contentType: "text/html" }),
  ]) {
    cluster.fault = fault;
    await assert.rejects(agent("token-a").issue(web, never), /UNAVAILABLE|UNAUTHENTICATED/);
  }
  cluster.fault = (path) => (path.includes("/pods") ? jsonAnswer(403, {}) : undefined);
  await assert.rejects(agent("token-a").issue(web, never), /UNAVAILABLE: the authority cannot check the request now/);
  assert.ok(lines.every((line) => line.startsWith("certificate refused")));
});

test("without a root nothing is signed, and the caller reads why", async (t) => {
  const signing = (): SigningRoot => {
    throw new NotIssued("FAILED_PRECONDITION", "the Secret is gone: restore it");
  };
  const { agent } = await setUp(t, { signing });
  await assert.rejects(agent("token-a").issue(web, never), /FAILED_PRECONDITION: the Secret is gone: restore it/);
});

test("a node, and an address, may ask so often", async (t) => {
  const few = () => new RateLimit({ perSecond: 0.001, burst: 2 });
  const { agent } = await setUp(t, { perNode: few() });
  const client = agent("token-a");
  for (const _ of [1, 2]) (await client.issue(web, never)).key.wipe();
  await assert.rejects(client.issue(web, never), /RESOURCE_EXHAUSTED: the node a/);
  (await agent("token-b").issue(api, never)).key.wipe();
  const { agent: another, lines, cluster } = await setUp(t, { perAddress: few() });
  for (const _ of [1, 2]) (await another("token-a").issue(web, never)).key.wipe();
  await assert.rejects(another("token-a").issue(web, never), /RESOURCE_EXHAUSTED: this address/);
  await assert.rejects(another("token-a").issue(web, never), /RESOURCE_EXHAUSTED: this address/);
  // Two certificates, and one line for both refusals; of which the API server hears nothing.
  assert.deepEqual([lines.length, cluster.asked.length], [3, 4]);
});

describe("requests that no honest agent sends", () => {
  type Sent = {
    readonly body?: Uint8Array;
    readonly headers?: IncomingHttpHeaders;
    readonly identity?: string;
    readonly csrPem?: string;
    readonly validitySeconds?: number;
  };

  async function send(session: ClientHttp2Session, sent: Sent): Promise<string> {
    const { csrPem, key } = await newRequest(web.text);
    key.wipe();
    const request = {
      csrPem: sent.csrPem ?? csrPem,
      validitySeconds: sent.validitySeconds ?? 600,
      impersonatedIdentity: sent.identity ?? web.text,
    };
    const stream = session.request({
      ...{ ":method": "POST", ":path": CREATE_CERTIFICATE, "content-type": "application/grpc", te: "trailers" },
      ...{ authorization: "Bearer token-a", ...sent.headers },
    });
    let said: IncomingHttpHeaders = {};
    stream.on("response", (headers) => {
      said = { ...said, ...headers };
    });
    stream.on("trailers", (headers) => {
      said = { ...said, ...headers };
    });
    stream.on("error", () => {});
    stream.end(sent.body ?? frameGrpcMessage(encodeCertificateRequest(request)));
    await buffer(stream).catch(() => {});
    return `${said["grpc-status"]} ${decodeURIComponent(String(said["grpc-message"] ?? ""))}`;
  }

  test("each is refused with its reason", async (t) => {
    const { session: opened, lines } = await setUp(t);
    const session = opened();
    const { csrPem: ofApi, key } = await newRequest(api.text);
    key.wipe();
    const { csrPem: good, key: unused } = await newRequest(web.text);
    unused.wipe();
    const der = Buffer.from(good.replaceAll(/-----.*-----|\s/g, ""), "base64");
    const changed = Buffer.from(der);
    changed[changed.length - 3] = (changed[changed.length - 3] ?? 0) ^ 1;
    const pem = (bytes: Uint8Array): string =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(bytes).toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    const cases: readonly (readonly [Sent, RegExp])[] = [
      [{ headers: { ":path": "/istio.v1.auth.IstioCertificateService/Other" } }, /^12 /],
      [{ headers: { "content-type": "application/json" } }, /^3 no gRPC/],
      [{ headers: { authorization: "Basic dTpw" } }, /^16 no bearer/],
      [{ headers: { authorization: `Bearer ${"x".repeat(20_000)}` } }, /^16 no bearer/],
      [{ body: Buffer.alloc(0) }, /^3 no Istio/],
      [{ body: Buffer.alloc(20_000) }, /^3 the message is too long/],
      [{ body: frameGrpcMessage(Buffer.from([0x0b])) }, /^3 no Istio/],
      [{ identity: "" }, /^3 ImpersonatedIdentity/],
      [{ identity: "spiffe://cluster.local/ns/shop/sa/web/" }, /^3 ImpersonatedIdentity/],
      [{ identity: "spiffe://cluster.local/ns/..%2f/sa/web" }, /^3 ImpersonatedIdentity/],
      [{ identity: "spiffe://bank.example/ns/shop/sa/web" }, /^7 this authority is of cluster.local/],
      [{ csrPem: ofApi }, /^3 the request does not name the identity/],
      [{ csrPem: "" }, /^3 the request is no PEM/],
      [{ csrPem: good + good }, /^3 the request is no PEM/],
      [{ csrPem: pem(Buffer.from("hello")) }, /^3 the request cannot be read/],
      [{ csrPem: pem(Buffer.alloc(5_000, Buffer.from("3080", "hex"))) }, /^3 the request cannot be read/],
      [{ csrPem: pem(Buffer.alloc(7_000)) }, /^3 the request is too long/],
      [{ csrPem: pem(changed) }, /^3 the request is not signed by its own key|^3 the request cannot be read/],
      [{ validitySeconds: 59 }, /^3 a life of under 60 s/],
    ];
    for (const [sent, expected] of cases) assert.match(await send(session, sent), expected);
    assert.ok(lines.every((line) => line.startsWith("certificate refused")));
    assert.equal(lines.length, cases.length);
    assert.match(await send(session, {}), /^0 /);
  });

  test("a key of a kind that is not signed", async (t) => {
    const { session: opened } = await setUp(t);
    const { requestOfKind } = await import("../identity/csr.fake.ts");
    for (const kind of ["RSA", "Ed25519", "P-521"] as const) {
      assert.match(await send(opened(), { csrPem: await requestOfKind(kind, web.text) }), /^3 a key of a kind/, kind);
    }
    assert.match(await send(opened(), { csrPem: await requestOfKind("P-384", web.text) }), /^0 /);
  });

  test("a life that is longer than the authority gives is cut", async (t) => {
    const { session: opened, lines } = await setUp(t);
    assert.match(await send(opened(), { validitySeconds: 1_000_000 }), /^0 /);
    const [, text = ""] = /"notAfter":"([^"]+)"/.exec(lines.join()) ?? [];
    const leftMs = Date.parse(text) - Date.now();
    assert.ok(leftMs > 3_500_000 && leftMs <= 3_600_000, String(leftMs));
  });

  test("an address whose requests never arrive takes nothing from another, and they end", async (t) => {
    const { session: opened } = await setUp(t);
    const sessions = Array.from({ length: 16 }, () => opened());
    const headers = { ":method": "POST", ":path": CREATE_CERTIFICATE, "content-type": "application/grpc" };
    const silent = sessions.flatMap((session) =>
      Array.from({ length: 16 }, () => session.request({ ...headers, authorization: "Bearer bogus" })),
    );
    const ended = silent.map((stream) => {
      stream.on("error", () => {}).resume();
      return new Promise<void>((resolve) => stream.once("close", () => resolve()));
    });
    // The server has seen the streams when it answers a ping that was sent after them.
    await Promise.all(sessions.map((session) => new Promise<void>((resolve) => void session.ping(() => resolve()))));
    assert.match(await send(opened("127.0.0.2"), {}), /^0 /);
    await Promise.all(ended);
    assert.match(await send(opened(), {}), /^0 /);
  });

  test("while the API server is slow, an address without a valid token takes few of the slots that all share", async (t) => {
    const { session: opened, cluster } = await setUp(t, { concurrency: 20 });
    const released = Promise.withResolvers<void>();
    const settled = Promise.withResolvers<void>();
    let pending = 20;
    const settle = (): void => {
      pending -= 1;
      if (pending === 0) settled.resolve();
    };
    cluster.hold = async () => {
      if (pending === 0) return;
      settle();
      await released.promise;
    };
    const asked = [opened(), opened()].flatMap((session) =>
      Array.from({ length: 10 }, async () => {
        const said = await send(session, { headers: { authorization: "Bearer bogus" } });
        if (said.startsWith("8 ")) settle();
        return said;
      }),
    );
    await settled.promise;
    const other = await send(opened("127.0.0.2"), {});
    released.resolve();
    assert.match(other, /^0 /);
    const refused = (await Promise.all(asked)).filter((said) =>
      said.startsWith("8 this address asks too much at once"),
    );
    assert.equal(refused.length, 4);
  });

  test("a client that goes in the middle leaves the others served", async (t) => {
    const { session: opened } = await setUp(t);
    for (let times = 0; times < 20; times++) {
      const session = opened();
      session.on("error", () => {});
      const stream = session.request({
        ":method": "POST",
        ":path": CREATE_CERTIFICATE,
        "content-type": "application/grpc",
        authorization: "Bearer token-a",
      });
      stream.on("error", () => {});
      stream.write(Buffer.alloc(3));
      if (times % 2 === 0) stream.close(8);
      else session.destroy();
    }
    assert.match(await send(opened(), {}), /^0 /);
  });
});

test("a new certificate of the server serves new connections, and old connections go on", async (t) => {
  const { agent, server } = await setUp(t);
  const client = agent("token-a");
  (await client.issue(web, never)).key.wipe();
  const life = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const { certificatePem, keyPem } = await newServerCertificate(root.issuer, ["localhost"], life);
  server.renew({ cert: certificatePem, key: keyPem });
  keyPem.fill(0);
  (await client.issue(web, never)).key.wipe();
  (await agent("token-a").issue(web, never)).key.wipe();
});

test("an address has so many connections, and what ends makes room", async (t) => {
  const { session, port, agent } = await setUp(t);
  const { connect: dial } = await import("node:net");
  const sockets = Array.from({ length: 64 }, () => dial(port, "127.0.0.1"));
  t.after(() => sockets.forEach((socket) => void socket.destroy()));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  const refused = session();
  await assert.rejects(new Promise((resolve, reject) => refused.once("connect", resolve).once("error", reject)));
  for (const socket of sockets) socket.destroy();
  for (;;) {
    const issued = await agent("token-a")
      .issue(web, never)
      .catch(() => undefined);
    issued?.key.wipe();
    if (issued !== undefined) break;
  }
});

test("a server that ends answers what is under way", async (t) => {
  const asked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const { agent, server, cluster } = await setUp(t);
  cluster.hold = async () => {
    asked.resolve();
    await released.promise;
  };
  const issuing = agent("token-a").issue(web, never);
  await asked.promise;
  const closed = server.close();
  released.resolve();
  (await issuing).key.wipe();
  await closed;
});
