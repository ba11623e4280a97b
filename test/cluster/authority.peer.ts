// test cluster · two replicas of `orlop control` on a real API server, with the rights of daemonset/control.yaml and no others: one root,
// certificates for the pods of the asking node alone, and what happens when the root's Secret goes.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { RemoteAuthority } from "../../agent/identity/remote-authority.ts";
import { type SpiffeId, spiffeId } from "../../agent/mesh/spiffe-id.ts";
import { ask, send } from "./api.ts";
import { makeNamespace, makePod, tokenFor } from "./authority-objects.ts";
import { startCluster } from "./cluster.ts";
import { freePorts } from "./free-ports.ts";
import { testCluster } from "./test-cluster.ts";

const PATIENCE_MS = 60_000;
const main = fileURLToPath(new URL("../../agent/main.ts", import.meta.url));
const manifest = fileURLToPath(new URL("../../daemonset/control.yaml", import.meta.url));
const SYSTEM = "orlop-system";
const SECRET = `/api/v1/namespaces/${SYSTEM}/secrets/orlop-control-root`;
const BUNDLE = `/api/v1/namespaces/${SYSTEM}/configmaps/orlop-root-cert`;
const web = spiffeId("cluster.local", "shop", "web");
const api = spiffeId("cluster.local", "shop", "api");
const never = new AbortController().signal;

const folder = mkdtempSync(path.join(tmpdir(), "orlop-authority-cluster-"));
const at = (name: string): string => path.join(folder, name);
const controls: ChildProcess[] = [];
after(() => {
  for (const control of controls) control.kill("SIGKILL");
});
const { plan, binaries, kubeconfig: admin, kubectl } = testCluster("authority", 2, folder);
const nodes = plan.nodes.map(({ name }) => name) as [string, string];
const agentUids = new Map<string, string>();

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s`);
    await sleep(100);
  }
}

/** Of the first replica. */
let page = "";

/** As the Deployment's account, which its token file proves. Resolves to its address once it serves. */
async function startControl(name: string): Promise<string> {
  const [port, ready, metrics] = await freePorts(3);
  if (name === "first") page = `http://127.0.0.1:${metrics}/metrics`;
  const spec = {
    ...{ kubeconfig: at("control.kubeconfig"), serverNames: ["localhost"], rootSpreadSeconds: 0 },
    ...{ listen: { host: "127.0.0.1", port }, ready: { host: "127.0.0.1", port: ready } },
    metrics: { host: "127.0.0.1", port: metrics },
  };
  writeFileSync(at(`${name}.yaml`), JSON.stringify({ apiVersion: "orlop.dev/v1alpha1", kind: "ControlConfig", spec }));
  const control = spawn(process.execPath, [main, "control", "-c", at(`${name}.yaml`)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  controls.push(control);
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${name} does not serve: ${said.join("\n")}`)), PATIENCE_MS);
    control.once("exit", (status) => reject(new Error(`${name} ended with ${status}: ${said.join("\n")}`)));
    createInterface({ input: control.stdout ?? assert.fail() }).on("line", (line) => {
      said.push(line);
      if (!line.includes('"serving"')) return;
      clearTimeout(late);
      resolve();
    });
  });
  return `https://localhost:${port}`;
}

/** What a holder of the token gets for an identity: "issued", or the refusal. */
async function asked(address: string, token: string, identity: SpiffeId): Promise<string> {
  writeFileSync(at("token"), token);
  const options = { tokenFile: at("token"), rootsFile: at("roots.pem"), serverRootsFile: "", leafTtlSeconds: 600 };
  const client = new RemoteAuthority(
    { ...options, address, cluster: "c1", trustDomain: "cluster.local" },
    { wallMs: Date.now },
  );
  try {
    const { key, chainPem } = await client.issue(identity, never);
    key.wipe();
    return `issued ${new X509Certificate(chainPem).subjectAltName}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    client.close();
  }
}

async function writeRoots(): Promise<void> {
  const { body } = await ask(admin, BUNDLE);
  writeFileSync(at("roots.pem"), JSON.parse(body).data["root-cert.pem"]);
}
const agentToken = (node: string, audience = "orlop-ca"): Promise<string> =>
  tokenFor(admin, { namespace: SYSTEM, account: "orlop-agent" }, audience, {
    name: `agent-${node}`,
    uid: agentUids.get(node) ?? "",
  });

let replicas: readonly string[] = [];

before(async () => {
  await startCluster(plan, binaries, console.log);
  await makeNamespace(admin, SYSTEM, ["orlop-agent"]);
  await makeNamespace(admin, "shop", ["web", "api"]);
  kubectl.run(["apply", "--validate=strict", "--server-side", "-f", manifest]);
  for (const node of nodes) {
    const pod = { namespace: SYSTEM, name: `agent-${node}`, account: "orlop-agent", node };
    agentUids.set(node, await makePod(admin, pod));
  }
  await makePod(admin, { namespace: "shop", name: "web-1", account: "web", node: nodes[0] });
  await makePod(admin, { namespace: "shop", name: "api-1", account: "api", node: nodes[1] });
  writeFileSync(at("control.token"), await tokenFor(admin, { namespace: SYSTEM, account: "orlop-control" }, "", null));
  const kubeconfig = JSON.parse(readFileSync(admin, "utf8"));
  kubeconfig.users = kubeconfig.users.map(({ name }: { name: string }) => ({
    name,
    user: { tokenFile: at("control.token") },
  }));
  writeFileSync(at("control.kubeconfig"), JSON.stringify(kubeconfig));
  replicas = await Promise.all(["first", "second"].map(startControl));
  await writeRoots();
});

test("two replicas that start at once have one root, and each node gets the identities of its own pods", async () => {
  for (const replica of replicas) {
    assert.equal(await asked(replica, await agentToken(nodes[0]), web), `issued URI:${web.text}`);
    assert.equal(await asked(replica, await agentToken(nodes[1]), api), `issued URI:${api.text}`);
  }
  assert.equal(readFileSync(at("roots.pem"), "utf8").match(/BEGIN/g)?.length, 1);
});

test("a captured token obtains nothing of another node, nor of a pod on the node's network", async () => {
  const [replica = ""] = replicas;
  assert.match(
    await asked(replica, await agentToken(nodes[0]), api),
    /PERMISSION_DENIED: no pod of shop\/api is on the node node-1/,
  );
  assert.match(
    await asked(replica, await agentToken(nodes[1]), web),
    /PERMISSION_DENIED: no pod of shop\/web is on the node node-2/,
  );
  await makePod(admin, { namespace: "shop", name: "api-host", account: "api", node: nodes[0], hostNetwork: true });
  assert.match(await asked(replica, await agentToken(nodes[0]), api), /PERMISSION_DENIED/);
  await makePod(admin, { namespace: "shop", name: "api-2", account: "api", node: nodes[0] });
  assert.equal(await asked(replica, await agentToken(nodes[0]), api), `issued URI:${api.text}`);
  // As soon as the pod is gone from the API server.
  await send(admin, "DELETE", "/api/v1/namespaces/shop/pods/api-2?gracePeriodSeconds=0");
  assert.match(await asked(replica, await agentToken(nodes[0]), api), /PERMISSION_DENIED/);
});

test("no other token counts: of another audience, of another account, bound to no pod, of a pod that is gone", async () => {
  const [replica = ""] = replicas;
  assert.match(
    await asked(replica, await agentToken(nodes[0], "https://kubernetes.default.svc"), web),
    /UNAUTHENTICATED/,
  );
  const unbound = await tokenFor(admin, { namespace: SYSTEM, account: "orlop-agent" }, "orlop-ca", null);
  assert.match(await asked(replica, unbound, web), /PERMISSION_DENIED: the token is not bound to a pod/);
  const uid = JSON.parse((await ask(admin, "/api/v1/namespaces/shop/pods/web-1")).body).metadata.uid;
  const ofWeb = await tokenFor(admin, { namespace: "shop", account: "web" }, "orlop-ca", { name: "web-1", uid });
  assert.match(await asked(replica, ofWeb, web), /PERMISSION_DENIED: the token is not of an agent's account/);
  const name = "agent-short";
  const short = await makePod(admin, { namespace: SYSTEM, name, account: "orlop-agent", node: nodes[0] });
  const token = await tokenFor(admin, { namespace: SYSTEM, account: "orlop-agent" }, "orlop-ca", { name, uid: short });
  assert.match(await asked(replica, token, web), /issued/);
  await send(admin, "DELETE", `/api/v1/namespaces/${SYSTEM}/pods/${name}?gracePeriodSeconds=0`);
  // The API server may believe a token for some ten seconds more.
  await until("the end of the token", async () => /UNAUTHENTICATED/.test(await asked(replica, token, web)));
});

test("the Secret is gone: no replica signs and none makes another; restored, all is as before", async () => {
  const { body } = await ask(admin, SECRET);
  const { metadata, ...secret } = JSON.parse(body);
  assert.equal(secret.type, "kubernetes.io/tls");
  await send(admin, "DELETE", SECRET);
  const token = await agentToken(nodes[0]);
  for (const replica of replicas)
    await until("a refusal", async () => /FAILED_PRECONDITION.*restore it/.test(await asked(replica, token, web)));
  assert.equal((await ask(admin, SECRET)).status, 404);
  await send(admin, "POST", SECRET.replace("/orlop-control-root", ""), {
    ...secret,
    metadata: { name: metadata.name },
  });
  for (const replica of replicas)
    await until("certificates again", async () => /^issued/.test(await asked(replica, token, web)));
});

test("the account of orlop control can do no more than it must", () => {
  const can = (...words: readonly string[]): boolean => {
    try {
      return kubectl.run(["auth", "can-i", ...words, `--as=system:serviceaccount:${SYSTEM}:orlop-control`]) === "yes";
    } catch {
      return false;
    }
  };
  assert.ok(can("get", "secrets/orlop-control-root", "-n", SYSTEM));
  for (const words of [
    ["update", "secrets/orlop-control-root", "-n", SYSTEM],
    ["delete", "secrets/orlop-control-root", "-n", SYSTEM],
    ["list", "secrets", "-n", SYSTEM],
    ["get", "secrets/another", "-n", SYSTEM],
    ["get", "secrets/orlop-control-root", "-n", "shop"],
    ["update", "configmaps/another", "-n", SYSTEM],
    ["create", "pods", "-n", SYSTEM],
    ["create", "serviceaccounts/token", "-n", SYSTEM],
  ])
    assert.equal(can(...words), false, words.join(" "));
});

test("its metrics say what it answered, and until when it signs", async () => {
  const text = await (await fetch(page)).text();
  for (const line of [
    /^orlop_authority_requests_total\{code="OK"\} [1-9]/m,
    /^orlop_authority_requests_total\{code="PERMISSION_DENIED"\} [1-9]/m,
    /^orlop_authority_requests_total\{code="FAILED_PRECONDITION"\} [1-9]/m,
    /^orlop_authority_signs 1$/m,
    /^istio_build\{component="orlop-control",tag="[^"]+"\} 1$/m,
  ])
    assert.match(text, line);
  const [, ends = "0"] = /^orlop_authority_root_expiry_timestamp_seconds (\S+)$/m.exec(text) ?? [];
  assert.ok(Number(ends) * 1_000 > Date.now() + 9 * 365 * 86_400_000, ends);
});
