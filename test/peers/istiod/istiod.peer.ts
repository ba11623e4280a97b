// test peers · a real istiod on a real API server is the authority: the agent's client gets the certificates of its node's pods, and reads
// the refusals for those of another node.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RemoteAuthority } from "../../../agent/identity/remote-authority.ts";
import { type SpiffeId, spiffeId } from "../../../agent/mesh/spiffe-id.ts";
import { ask } from "../../cluster/api.ts";
import { makeNamespace, makePod, tokenFor } from "../../cluster/authority-objects.ts";
import { startCluster } from "../../cluster/cluster.ts";
import { freePorts } from "../../cluster/free-ports.ts";
import { testCluster } from "../../cluster/test-cluster.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";

const PATIENCE_MS = 90_000;
const SYSTEM = "istio-system";
const web = spiffeId("cluster.local", "shop", "web");
const api = spiffeId("cluster.local", "shop", "api");
const never = new AbortController().signal;

const folder = mkdtempSync(path.join(tmpdir(), "orlop-istiod-"));
const at = (name: string): string => path.join(folder, name);
let istiod: ChildProcess | undefined;
after(() => {
  istiod?.kill("SIGKILL");
});
const { plan, binaries, kubeconfig: admin } = testCluster("istiod", 2, folder);
const program = path.join(built("istiod", console.log), "bin/istiod");
const nodes = plan.nodes.map(({ name }) => name) as [string, string];
const uids = new Map<string, string>();
let address = "";

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (istiod?.exitCode !== null || performance.now() > end) {
      throw new Error(`${what}: ${readFileSync(at("log"), "utf8").slice(-2_000)}`);
    }
    await sleep(200);
  }
}

async function asked(node: string, identity: SpiffeId, audience = "istio-ca"): Promise<string> {
  const pod = { name: `agent-${node}`, uid: uids.get(node) ?? "" };
  writeFileSync(at("token"), await tokenFor(admin, { namespace: SYSTEM, account: "agent" }, audience, pod));
  const client = new RemoteAuthority(
    {
      ...{ address, tokenFile: at("token"), rootsFile: at("roots.pem"), serverRootsFile: "" },
      ...{ cluster: "Kubernetes", trustDomain: "cluster.local", leafTtlSeconds: 3_600 },
    },
    { wallMs: Date.now },
  );
  try {
    const { key, chainPem, notAfterMs } = await client.issue(identity, never);
    key.wipe();
    assert.ok(notAfterMs > Date.now() + 3_000_000 && notAfterMs <= Date.now() + 3_700_000);
    return `issued ${new X509Certificate(chainPem).subjectAltName}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    client.close();
  }
}

before(async () => {
  await startCluster(plan, binaries, console.log);
  await makeNamespace(admin, SYSTEM, ["agent", "istiod"]);
  await makeNamespace(admin, "shop", ["web", "api"]);
  for (const node of nodes) {
    const pod = { namespace: SYSTEM, name: `agent-${node}`, account: "agent", node };
    uids.set(node, await makePod(admin, pod));
  }
  await makePod(admin, { namespace: "shop", name: "web-1", account: "web", node: nodes[0] });
  await makePod(admin, { namespace: "shop", name: "api-1", account: "api", node: nodes[1] });
  mkdirSync(at("home"));
  writeFileSync(at("mesh"), "");
  const [grpc, secure, http, https, monitoring] = await freePorts(5);
  const flags = {
    ...{ kubeconfig: admin, meshConfig: at("mesh"), domain: "cluster.local" },
    ...{ grpcAddr: `127.0.0.1:${grpc}`, secureGRPCAddr: `127.0.0.1:${secure}`, httpAddr: `127.0.0.1:${http}` },
    ...{ httpsAddr: `127.0.0.1:${https}`, monitoringAddr: `127.0.0.1:${monitoring}` },
  };
  const log = openSync(at("log"), "w");
  const argv = ["discovery", ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)];
  istiod = spawn(program, argv, {
    stdio: ["ignore", log, log],
    cwd: at("home"),
    env: {
      ...{ PATH: process.env.PATH, HOME: at("home"), POD_NAME: "istiod-0", POD_NAMESPACE: SYSTEM },
      ...{ SERVICE_ACCOUNT: "istiod", CLUSTER_ID: "Kubernetes", REVISION: "default", PILOT_ENABLE_AMBIENT: "true" },
      ...{ CA_TRUSTED_NODE_ACCOUNTS: `${SYSTEM}/agent`, ISTIOD_CUSTOM_HOST: "localhost" },
    },
  });
  address = `https://localhost:${secure}`;
  const bundle = `/api/v1/namespaces/${SYSTEM}/configmaps/istio-ca-root-cert`;
  await until("istiod's roots", async () => (await ask(admin, bundle)).status === 200);
  writeFileSync(at("roots.pem"), JSON.parse((await ask(admin, bundle)).body).data["root-cert.pem"]);
  // It answers once it has seen the pods of the nodes.
  await until("a certificate", async () => /^issued/.test(await asked(nodes[0], web)));
});

peerCase("istiod", "it gives a node's agent the certificates of the pods of that node", async () => {
  assert.equal(await asked(nodes[0], web), `issued URI:${web.text}`);
  assert.equal(await asked(nodes[1], api), `issued URI:${api.text}`);
});

peerCase(
  "istiod",
  "it gives nothing of another node, and nothing for a token of another audience; the client says so",
  async () => {
    assert.match(await asked(nodes[0], api), /^(UNAUTHENTICATED|PERMISSION_DENIED): /);
    assert.match(await asked(nodes[1], web), /^(UNAUTHENTICATED|PERMISSION_DENIED): /);
    assert.match(await asked(nodes[0], web, "https://kubernetes.default.svc"), /^UNAUTHENTICATED: /);
  },
);
