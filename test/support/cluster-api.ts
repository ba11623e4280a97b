// test support · an API server (api-server.ts) in the namespace of a cluster's node, whose objects a test changes, and a node that has it
// as its source.
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Cluster, Node, Pod } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";

const PORT = 6443;
const program = fileURLToPath(new URL("./api-server.ts", import.meta.url));

export type ApiChange = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** null: the object is deleted. */
  readonly body: object | null;
};

export type ApiPod = Pick<Pod, "name" | "uid" | "serviceAccount" | "labels" | "node">;

/** A pod of namespace `demo`, bound to its node. */
export function podObject({ name, uid, node, serviceAccount, labels }: ApiPod, status: object): ApiChange {
  const spec = { nodeName: node, serviceAccountName: serviceAccount, containers: [{ name: "app" }] };
  return { kind: "Pod", namespace: "demo", name, body: { metadata: { uid, labels }, spec, status } };
}

export function runningPod(pod: ApiPod, addresses: readonly string[]): ApiChange {
  const conditions = [{ type: "Ready", status: "True" }];
  return podObject(pod, { phase: "Running", podIPs: addresses.map((ip) => ({ ip })), conditions });
}

export class ClusterApi {
  readonly #cluster: Cluster;
  readonly #node: Node;
  #server: Running | undefined;

  /** Makes the node read from it: before the node's programs start. */
  constructor(cluster: Cluster, node: Node) {
    this.#cluster = cluster;
    this.#node = node;
    const { key, cert } = this.#files;
    const subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"];
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    const argv = ["req", "-x509", ...curve, "-nodes", "-days", "1", ...subject, "-keyout", key, "-out", cert];
    execFileSync("openssl", argv, { stdio: "ignore" });
    // Only root reads it, as a kubeconfig should be: the agent reads it before it becomes another user.
    const kubeconfig = path.join(cluster.dir, "kubeconfig");
    const config = {
      "current-context": "box",
      clusters: [{ name: "box", cluster: { server: `https://127.0.0.1:${PORT}`, "certificate-authority": cert } }],
      users: [{ name: "agent", user: { token: "a token" } }],
      contexts: [{ name: "box", context: { cluster: "box", user: "agent" } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
    chmodSync(kubeconfig, 0o600);
    const written = readFileSync(node.configFile, "utf8");
    const source = `  source: kubernetes\n  kubeconfig: ${kubeconfig}`;
    writeFileSync(node.configFile, written.replace(/^ {2}mesh: .*$/m, source));
  }

  get #files(): { readonly key: string; readonly cert: string } {
    return { key: path.join(this.#cluster.dir, "key"), cert: path.join(this.#cluster.dir, "cert") };
  }

  /** A server that has these objects from the beginning. The server before it must have ended. */
  async start(objects: readonly ApiChange[]): Promise<void> {
    const { key, cert } = this.#files;
    this.#server = this.#node.start([process.execPath, program, String(PORT), key, cert]);
    for (const object of objects) this.tell(object);
    this.#server.write("listen\n");
    await this.#server.line(15_000, (line) => line === "listening");
  }

  /** Its watches bring nothing more of this kind until `pass`. */
  hold(kind: string): void {
    this.#server?.write(`${JSON.stringify({ hold: kind })}\n`);
  }

  pass(kind: string): void {
    this.#server?.write(`${JSON.stringify({ pass: kind })}\n`);
  }

  tell(change: ApiChange): void {
    this.#server?.write(`${JSON.stringify(change)}\n`);
  }

  async kill(): Promise<void> {
    this.#server?.kill("SIGKILL");
    await this.#server?.wait(15_000);
  }
}
