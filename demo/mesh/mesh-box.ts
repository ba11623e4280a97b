// demo · what a scenario of the demo is given: the cluster, its mesh, and ways to look.

import { type Cluster, createCluster, type Node, type Pod } from "../../test/box/cluster.ts";
import type { Running } from "../../test/box/process.ts";
import { type Pinger, startHttp, startPing, startServers } from "../app/roles.ts";
import { asCaptured, type Capture, startCapture } from "../wire/capture.ts";
import { initialState, type MeshState, meshText, nodesWithHttp } from "./mesh-file.ts";
import { type AccessEntry, accessLog, startMesh, until, view } from "./mesh-run.ts";

/** Shortest lifetime the configuration takes; certificates rotate at half of it, with jitter. */
const LEAF_TTL_SECONDS = 60;

export class DemoBox {
  readonly cluster: Cluster;
  /** A connection that lives from the first scenario on, so that rotation finds it open. */
  readonly rotation: { readonly pinger: Pinger; readonly serials: ReadonlyMap<string, string> };
  readonly programs: ReadonlyMap<string, Running>;
  /** Records from before the mesh was started. */
  readonly wire: Capture;
  #state: MeshState;

  constructor(parts: Pick<DemoBox, "cluster" | "rotation" | "programs" | "wire">) {
    this.cluster = parts.cluster;
    this.rotation = parts.rotation;
    this.programs = parts.programs;
    this.wire = parts.wire;
    this.#state = initialState;
  }

  get state(): MeshState {
    return this.#state;
  }

  pod(name: string): Pod {
    return this.cluster.pod(name);
  }

  nodeOf(pod: string): Node {
    return this.cluster.node(this.cluster.pod(pod).node);
  }

  /** Writes the mesh file with these changes. Returns the time just before, in milliseconds since the epoch. */
  write(change: Partial<MeshState>): number {
    this.#state = { ...this.#state, ...change };
    const text = meshText(this.cluster, this.#state);
    const before = performance.timeOrigin + performance.now();
    this.cluster.writeMesh(text);
    return before;
  }

  /** Writes it, runs `during`, and writes it back as it was, whatever happens. */
  async with(change: Partial<MeshState>, during: (writtenAt: number) => Promise<void>): Promise<void> {
    const before = this.#state;
    try {
      await during(this.write(change));
    } finally {
      this.write(before);
    }
  }

  /** Those of all pods that are meant to be in the mesh from the start. */
  meshAddresses(): ReadonlySet<string> {
    const pods = this.cluster.nodes.flatMap((node) => node.pods).filter((pod) => !initialState.optedOut.has(pod.name));
    return new Set(pods.flatMap((pod) => [asCaptured(pod.ip4), asCaptured(pod.ip6)]));
  }

  /** Waits until the pod's own agent says it is in this state. */
  captured(pod: string, capture: "captured" | "not-enrolled"): Promise<true> {
    return until(`${pod} ${capture}`, 20_000, async () => {
      const { items } = await view(this.nodeOf(pod), "workloads");
      return items.some((item) => item.name === pod && item.capture === capture) ? true : undefined;
    });
  }
}

/** Everything up and ready. `tell` hears of each step as it is done. On failure nothing of it stays. */
export async function openDemo(tell: (step: string) => void): Promise<DemoBox> {
  const nodeConfig = `  dataThreads: 1\n`;
  const cluster = await createCluster({ nodes: nodesWithHttp, nodeConfig, leafTtlSeconds: LEAF_TTL_SECONDS });
  try {
    tell(`cluster ${cluster.id}: ${cluster.nodes.map((node) => `${node.name} (${podList(node)})`).join(", ")}`);
    cluster.writeMesh(meshText(cluster, initialState));
    const wire = await startCapture(cluster);
    const hosts = [...cluster.nodes.flatMap((node) => node.pods), cluster.outside];
    const serving = cluster.nodes.flatMap((node) => node.pods).filter((pod) => pod.labels.serves === "http");
    const applications = [...hosts.map(startServers), ...serving.map(startHttp)];
    const [programs] = await Promise.all([startMesh(cluster), ...applications]);
    const web = cluster.pod("web");
    const rotation = {
      serials: await serialsOf(cluster),
      pinger: await startPing(web, { host: cluster.pod("api").ip4, port: 8080 }, 20, "still there?"),
    };
    tell("keeper and agent ready on both nodes");
    return new DemoBox({ cluster, programs, rotation, wire });
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

const podList = (node: Node): string => node.pods.map((pod) => `${pod.name} ${pod.ip4}`).join(", ");

/** Serial numbers by `<node> <identity>`. */
export async function serialsOf(cluster: Cluster): Promise<ReadonlyMap<string, string>> {
  const serials = new Map<string, string>();
  for (const node of cluster.nodes) {
    const { items } = await view(node, "certs");
    for (const cert of items) if (cert.state === "ready") serials.set(`${node.name} ${cert.identity}`, cert.serial);
  }
  return serials;
}

/** Reads what the node's access log says from now on. */
export function logSince(node: Node): {
  find(what: string, wanted: (entry: AccessEntry) => boolean): Promise<AccessEntry>;
} {
  const seen = accessLog(node).length;
  return {
    find: (what, wanted) =>
      until(`${what} in the access log of ${node.name}`, 20_000, () => accessLog(node).slice(seen).find(wanted)),
  };
}

/** For scenarios: throws with what was expected and what was seen. */
export function expect(seen: unknown, what: string, fine: boolean): asserts fine {
  if (!fine) throw new Error(`expected ${what}, saw ${typeof seen === "string" ? seen : JSON.stringify(seen)}`);
}
