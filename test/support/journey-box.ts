// test support · a mesh of two nodes for a journey: cluster, servers, `orlop run` on both nodes; and hostile peers for it.
import { appendFileSync, chownSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { EmbeddedAuthority } from "../../agent/identity/embedded.ts";
import { spiffeId } from "../../agent/mesh/spiffe-id.ts";
import { startServers } from "../../demo/app/roles.ts";
import { startMesh } from "../../demo/mesh/mesh-run.ts";
import { AGENT_UID, type Cluster, type ClusterSpec, createCluster, type Host } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import { tail } from "../box/process.ts";
import type { PeerAnswer, PeerRequest } from "./hbone-peer.ts";
import { HostileAuthority } from "./hostile-certificates.ts";

export type Journey = {
  readonly cluster: Cluster;
  readonly programs: ReadonlyMap<string, Running>;
  /** A root that both nodes trust beside their own: what it signs is wrong only in what the test makes wrong. */
  readonly trusted: HostileAuthority;
  close(): Promise<void>;
};

/** Everything up and ready, servers in every pod and outside. `mesh` gets the cluster for its addresses. */
export async function startJourney(spec: ClusterSpec, mesh: (cluster: Cluster) => string): Promise<Journey> {
  const cluster = await createCluster({ nodeConfig: "  dataThreads: 1\n", ...spec });
  try {
    const trusted = new HostileAuthority();
    // The first use of the file makes the mesh's own root; roots after it are trusted, too.
    const authority = new EmbeddedAuthority(
      { rootFile: cluster.caFile, leafTtlSeconds: 3_600, trustDomain: "cluster.local" },
      { wallMs: Date.now },
    );
    await authority.issue(spiffeId("cluster.local", "demo", "nobody"), new AbortController().signal);
    appendFileSync(cluster.caFile, trusted.root.pem);
    chownSync(cluster.caFile, AGENT_UID, AGENT_UID);
    cluster.writeMesh(mesh(cluster));
    const hosts = [...cluster.nodes.flatMap((node) => node.pods), cluster.outside];
    const [programs] = await Promise.all([startMesh(cluster), ...hosts.map(startServers)]);
    return { cluster, programs, trusted, close: () => cluster.close() };
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

const peerProgram = fileURLToPath(new URL("./hbone-peer.ts", import.meta.url));

/** Speaks HBONE (or plaintext) from inside a namespace. */
export async function speakHbone(from: Host, request: PeerRequest): Promise<PeerAnswer> {
  const running = from.start([process.execPath, peerProgram]);
  running.write(JSON.stringify(request));
  running.endInput();
  const done = await running.wait(60_000);
  if (done.status !== 0) throw new Error(`hbone-peer in ${from.name} ended with ${done.status}: ${tail(done.stderr)}`);
  return JSON.parse(done.stdout) as PeerAnswer;
}

/** PKCS#8 DER as the PEM that node:tls takes. */
export function keyPem(pkcs8: Buffer): string {
  const lines = pkcs8.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}
