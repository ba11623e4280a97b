// The node's configuration chooses the source: with `source: kubernetes` a real client asks a server over HTTP/2, in a pod's manner.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Session } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Dice } from "../../test/support/dice.ts";
import { until } from "../../test/support/until.ts";
import { loadConfig } from "../config/load.ts";
import { FakeCluster } from "../control/kubernetes/cluster.fake.ts";
import { watchedKinds } from "../control/kubernetes/watched-kinds.ts";
import { MeshStore } from "../mesh/store.ts";
import { meshSource } from "./mesh-source.ts";

const DEADLINE = { timeout: 120_000 };
const log = { warn: () => {}, error: () => {} };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-mesh-source-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Serves the cluster's answers on loopback to everybody who has the token of the moment. */
async function serve(t: TestContext, folder: string, cluster: FakeCluster, tokens: readonly string[]): Promise<number> {
  const [key, cert] = [join(folder, "server.key"), join(folder, "server.pem")];
  const subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const argv = ["req", "-x509", ...curve, "-nodes", "-days", "1", ...subject, "-keyout", key, "-out", cert];
  execFileSync("openssl", argv, { stdio: "ignore" });
  const server = createSecureServer({ cert: readFileSync(cert), key: readFileSync(key) });
  const sessions: ServerHttp2Session[] = [];
  server.on("session", (session) => sessions.push(session));
  server.on("sessionError", () => {});
  server.on("stream", async (stream, headers) => {
    stream.on("error", () => {});
    if (!tokens.includes(String(headers.authorization))) {
      stream.respond({ ":status": 401 });
      stream.end();
      return;
    }
    const { signal } = new AbortController();
    const { status, contentType, body } = await cluster.ask(String(headers[":path"]), { signal, idleMs: 1_000 });
    stream.respond({ ":status": status, "content-type": contentType });
    for await (const chunk of body) stream.write(chunk);
    stream.end();
  });
  t.after(async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}

test(
  "source: kubernetes is a cluster, read with a token that is renewed, and kept for the next start",
  DEADLINE,
  async (t) => {
    const folder = folderOf(t);
    const cluster = new FakeCluster(new Dice(1), watchedKinds, { bodyOf: () => ({}) });
    cluster.faulty = false;
    const pod = (ip: string) => ({ spec: { nodeName: "west" }, status: { phase: "Running", podIPs: [{ ip }] } });
    cluster.change("Namespace", "shop", {});
    cluster.change("Pod", "web", pod("10.0.0.1"));
    cluster.change("PeerAuthentication", "strict", { spec: { mtls: { mode: "STRICT" } } });
    const tokens = ["Bearer one"];
    const port = await serve(t, folder, cluster, tokens);
    writeFileSync(join(folder, "token"), "one\n");
    const kubeconfig = {
      "current-context": "a",
      clusters: [
        { name: "c", cluster: { server: `https://127.0.0.1:${port}`, "certificate-authority": "server.pem" } },
      ],
      users: [{ name: "u", user: { tokenFile: "token" } }],
      contexts: [{ name: "a", context: { cluster: "c", user: "u" } }],
    };
    writeFileSync(join(folder, "admin.conf"), JSON.stringify(kubeconfig));
    const spec = { node: "west", stateDir: join(folder, "state"), source: "kubernetes", kubeconfig: "admin.conf" };
    const file = join(folder, "orlop.yaml");
    writeFileSync(file, JSON.stringify({ apiVersion: "orlop.dev/v1alpha1", kind: "NodeConfig", spec }));

    const { agent } = loadConfig(file, {});
    const { thing, close } = meshSource(agent, log);
    const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
    const ending = new AbortController();
    const running = thing.source.run((updates) => void mesh.apply(updates), ending.signal);
    t.after(async () => {
      ending.abort();
      await running;
      await close();
    });
    await until(() => thing.source.status().state === "synced");
    assert.equal(thing.source.status().from, `https://127.0.0.1:${port}`);
    assert.deepEqual([mesh.workloadAt("10.0.0.1")?.name, [...mesh.peerAuthentications()].length], ["web", 1]);
    const lastGood = join(folder, "state", "last-good-cluster.jsonl");
    // The mesh counts at once, and is kept a moment later.
    await until(() => existsSync(lastGood));
    assert.equal(statSync(lastGood).mode & 0o777, 0o600);

    tokens[0] = "Bearer two";
    writeFileSync(join(folder, "token"), "two\n");
    cluster.change("Pod", "job", pod("10.0.0.2"));
    await until(() => mesh.workloadAt("10.0.0.2") !== undefined);
  },
);

test("source: file is files, as it was", DEADLINE, async (t) => {
  const folder = folderOf(t);
  const file = join(folder, "orlop.yaml");
  const settings = { node: "west", stateDir: join(folder, "state") };
  const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
  writeFileSync(
    file,
    `${JSON.stringify({ apiVersion: "orlop.dev/v1alpha1", kind: "NodeConfig", spec: settings })}\n---\n${namespace}`,
  );
  const { thing } = meshSource(loadConfig(file, {}).agent, log);
  const ending = new AbortController();
  const { promise: emitted, resolve } = Promise.withResolvers<void>();
  const running = thing.source.run(() => resolve(), ending.signal);
  await emitted;
  assert.equal(thing.source.status().kind, "static-file");
  ending.abort();
  await running;
});
