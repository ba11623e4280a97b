// The authority as agents meet it, over TLS and HTTP/2, and whose certificates an agent may not have. The API server is a double;
// test/peers/authority asks real programs.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, test } from "node:test";
import { newServerCertificate } from "../identity/csr.ts";
import { jsonAnswer } from "./api.fake.ts";
import { NotIssued } from "./not-issued.ts";
import { RateLimit } from "./rate-limit.ts";
import type { SigningRoot } from "./root.ts";
import { agentOn, api, DAY_MS, never, pod, root, setUp, web } from "./server.fake.ts";

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
