// Which authority a node has; and the warning of a node of a cluster that holds the root's key.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentConfig } from "../config/config.ts";
import { certificateAuthority } from "./certificate-authority.ts";

const settings: AgentConfig["settings"] = {
  ...{ node: "a", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
const file = { kind: "file", path: "/mesh.yaml", lastGoodFile: "/last-good.json" } as const;
const cluster = { kind: "kubernetes", api: { server: "https://10.96.0.1" }, lastGoodFile: "/last-good.json" } as const;
const embedded = { provider: "embedded", rootFile: "/nowhere/root.pem", leafTtlSeconds: 600 } as const;
const service: AgentConfig["ca"] = {
  provider: "service",
  ...{ address: "https://ca:1", tokenFile: "/token", rootsFile: "/roots", serverRootsFile: "", leafTtlSeconds: 600 },
};

test("the configuration names the authority, and a root's key on a cluster's node is said", () => {
  const said: string[] = [];
  const log = { warn: (message: string) => void said.push(message) };
  const made = (ca: AgentConfig["ca"], source: AgentConfig["source"]): string =>
    certificateAuthority({ ca, settings, source }, { wallMs: Date.now, log }).name;
  assert.deepEqual(
    [made(embedded, file), made(service, file), made(service, cluster)],
    ["embedded", "service", "service"],
  );
  assert.deepEqual(said, []);
  assert.equal(made(embedded, cluster), "embedded");
  assert.match(said.join(), /this node holds the mesh's root key/);
});
