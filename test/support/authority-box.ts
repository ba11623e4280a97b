// test support · `orlop control` for a cluster in a box: on the first node, with a double of the API server beside it; every node's agent
// asks it for certificates, by a token of its own.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { FakePod } from "../../agent/authority/api.fake.ts";
import type { Cluster, Node, Pod } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import type { AuthorityApiLine } from "./authority-api.ts";

const API_PORT = 6_443;
const CONTROL_PORT = 15_012;
const apiProgram = fileURLToPath(new URL("./authority-api.ts", import.meta.url));
const askProgram = fileURLToPath(new URL("./ask-authority.ts", import.meta.url));
const DEADLINE_MS = 60_000;

export type AuthorityBox = {
  readonly api: Running;
  readonly address: string;
  readonly rootsFile: string;
  /** What the API server has from now on. */
  tell(line: AuthorityApiLine): void;
  /** Another `orlop control`; serves when this resolves. */
  startControl(port?: number): Promise<Running>;
  /** What the authority answers to somebody on `from` who has the token of `of`'s agent. */
  ask(from: Node, of: Node, identity: string, port?: number): Promise<string>;
};

const agentPod = (node: Node): FakePod => ({
  ...{ namespace: "orlop-system", name: `orlop-agent-${node.name}`, uid: `uid-${node.name}` },
  ...{ node: node.name, account: "orlop-agent" },
});
export const clusterPod = ({ namespace, name, uid, node, serviceAccount }: Pod): FakePod => ({
  ...{ namespace, name, uid, node, account: serviceAccount },
});

export type AuthorityBoxOptions = { readonly leafTtlSeconds: number; readonly rootSpreadSeconds: number };

/** Changes the configuration of every node, so it comes before the agents start. */
export async function startAuthority(cluster: Cluster, options: AuthorityBoxOptions): Promise<AuthorityBox> {
  const [first] = cluster.nodes;
  if (first === undefined) throw new Error("a cluster without nodes");
  const folder = path.join(cluster.dir, "authority");
  mkdirSync(folder, { mode: 0o755 });
  const at = (name: string): string => path.join(folder, name);
  const subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const files = ["-keyout", at("api.key"), "-out", at("api.crt")];
  execFileSync("openssl", ["req", "-x509", ...curve, "-nodes", "-days", "1", ...subject, ...files], {
    stdio: "ignore",
  });
  const rootsFile = at("root-cert.pem");
  const api = first.start([process.execPath, apiProgram, String(API_PORT), at("api.key"), at("api.crt"), rootsFile]);
  const tell = (line: AuthorityApiLine): void => api.write(`${JSON.stringify(line)}\n`);
  for (const node of cluster.nodes) {
    tell({ pod: agentPod(node) });
    tell({ pod: agentPod(node), token: `token-of-${node.name}` });
    writeFileSync(at(`${node.name}.token`), `token-of-${node.name}`);
    for (const pod of node.pods) tell({ pod: clusterPod(pod) });
  }
  await api.line(DEADLINE_MS, (line) => line === "listening");
  const kubeconfig = {
    "current-context": "box",
    clusters: [
      { name: "box", cluster: { server: `https://127.0.0.1:${API_PORT}`, "certificate-authority": at("api.crt") } },
    ],
    users: [{ name: "control", user: { token: "a token" } }],
    contexts: [{ name: "box", context: { cluster: "box", user: "control" } }],
  };
  writeFileSync(at("kubeconfig"), JSON.stringify(kubeconfig), { mode: 0o600 });
  const addressOf = (port: number): string => `https://${first.ip4}:${port}`;
  for (const node of cluster.nodes) {
    const ca = `  ca:
    provider: service
    address: ${addressOf(CONTROL_PORT)}
    tokenFile: ${at(`${node.name}.token`)}
    rootsFile: ${rootsFile}
    leafTtlSeconds: ${options.leafTtlSeconds}
`;
    const written = readFileSync(node.configFile, "utf8");
    writeFileSync(node.configFile, written.replace(/^ {2}ca:\n(?: {4}.*\n)+/m, ca));
  }
  const startControl = async (port = CONTROL_PORT): Promise<Running> => {
    const config = at(`control-${port}.yaml`);
    writeFileSync(
      config,
      `apiVersion: orlop.dev/v1alpha1
kind: ControlConfig
spec:
  kubeconfig: ${at("kubeconfig")}
  listen: {host: ${first.ip4}, port: ${port}}
  ready: {host: 127.0.0.1, port: ${port + 1_000}}
  metrics: {host: 127.0.0.1, port: ${port + 1_001}}
  serverNames: [${first.ip4}]
  leafTtlSeconds: ${options.leafTtlSeconds}
  rootSpreadSeconds: ${options.rootSpreadSeconds}
`,
    );
    const control = first.orlop(["control", "-c", config]);
    await control.line(DEADLINE_MS, (line) => line.includes('"serving"'));
    return control;
  };
  const ask = async (from: Node, of: Node, identity: string, port = CONTROL_PORT): Promise<string> => {
    const argv = [process.execPath, askProgram, addressOf(port), at(`${of.name}.token`), rootsFile, identity];
    return (await from.start(argv).wait(DEADLINE_MS)).stdout.trim();
  };
  return { api, address: addressOf(CONTROL_PORT), rootsFile, tell, startControl, ask };
}
