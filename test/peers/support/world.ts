// test peers · a mesh with peers of another make outside it: addresses, identities and Workload entries for them.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Target } from "../../../demo/app/client.ts";
import { demoNodes, identityOf, initialState, meshText } from "../../../demo/mesh/mesh-file.ts";
import { pidOf } from "../../../demo/mesh/mesh-run.ts";
import type { Host, Node } from "../../box/cluster.ts";
import { type Running, tail } from "../../box/process.ts";
import { HostileAuthority, uri } from "../../support/hostile-certificates.ts";
import { type Journey, keyPem, startJourney } from "../../support/journey-box.ts";

/** A server of another make that the mesh knows as a Workload of its own node. */
export type PeerServer = {
  readonly name: string;
  readonly address: string;
  readonly serviceAccount: string;
};
export type PeerFiles = { readonly certificate: string; readonly key: string };

export type World = Journey & {
  /** The host outside: it has the peers' addresses, and every peer runs there. */
  readonly outside: Host;
  /** Every root of the mesh, without keys. */
  readonly roots: string;
  /** Certificate and key of the identity `spiffe://cluster.local/ns/demo/sa/<name>`, signed by a root of the mesh. */
  identity(name: string): PeerFiles;
  /** The same by a root that nobody in the mesh trusts. */
  strangeIdentity(name: string): PeerFiles;
};

/** The demo's mesh on two nodes, and each of `servers` as a member that is reached over HBONE. */
export async function openWorld(servers: readonly PeerServer[] = []): Promise<World> {
  const journey = await startJourney({ nodes: demoNodes }, (cluster) =>
    [meshText(cluster, initialState), ...servers.map(workload)].join("---\n"),
  );
  const { cluster, trusted } = journey;
  try {
    for (const node of cluster.nodes) assertRecordLayer(node);
    for (const { address } of servers) {
      const added = await cluster.outside.run(["ip", "address", "add", `${address}/24`, "dev", "eth0"]);
      if (added.status !== 0) throw new Error(`${address}: ${tail(added.stderr)}`);
    }
    const folder = path.join(cluster.dir, "peers");
    mkdirSync(folder);
    const roots = path.join(folder, "roots.pem");
    const certificates = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g;
    writeFileSync(roots, (readFileSync(cluster.caFile, "utf8").match(certificates) ?? []).join(""));
    const strange = new HostileAuthority();
    const issue = (authority: HostileAuthority, name: string, file: string): PeerFiles => {
      const made = authority.named(uri(identityOf(name)));
      const files = { certificate: path.join(folder, `${file}.pem`), key: path.join(folder, `${file}.key`) };
      writeFileSync(files.certificate, made.pem);
      writeFileSync(files.key, keyPem(made.pkcs8));
      return files;
    };
    return {
      ...journey,
      ...{ outside: cluster.outside, roots },
      identity: (name) => issue(trusted, name, name),
      strangeIdentity: (name) => issue(strange, name, `strange-${name}`),
    };
  } catch (error) {
    await journey.close();
    throw error;
  }
}

/** A judge of one record layer that met the other would say nothing. Ours locks memory for its secrets, and nothing else of an agent does. */
function assertRecordLayer(node: Node): void {
  const own = process.env.ORLOP_TLS_RECORD_LAYER !== "openssl";
  const locked = /^VmLck:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pidOf(node, "agent")}/status`, "utf8"))?.[1];
  assert.equal(Number(locked) > 0, own, `the agent of ${node.name} has locked ${locked} kB`);
}

const workload = ({ name, address, serviceAccount }: PeerServer): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: demo, uid: peer-${name}}
spec:
  addresses: [${address}]
  node: elsewhere
  serviceAccount: ${serviceAccount}
`;

/** A JVM may take long to start beside others. */
const LISTEN_MS = 90_000;

/** Resolves once something listens at the port of the host's namespace. Throws when the program ends before. */
export async function listening(host: Host, port: number, program: Running): Promise<void> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  // proc_net_tcp(5): local address, remote address, and the state: 0A is LISTEN.
  const wanted = new RegExp(`:${hex} [0-9A-F]+:0000 0A `);
  for (const end = performance.now() + LISTEN_MS; performance.now() < end; await sleep(20)) {
    if (!program.running) break;
    const tables = ["tcp", "tcp6"].map((table) => readFileSync(`/proc/${host.place.pid}/net/${table}`, "utf8"));
    if (tables.some((table) => wanted.test(table))) return;
  }
  throw new Error(`${program.name} does not listen at ${port}: ${tail(program.stderr || program.stdout)}`);
}

const aborter = fileURLToPath(new URL("./aborter.ts", import.meta.url));

/**
 * `count` connections, a hundred at once, each reset `waitMs` after it is established. Throws when fewer than `least` come up:
 * while half of a tunnel's CONNECTs are abandoned and unanswered, the pod's next connections wait, and are refused after a second.
 */
export async function abortMany(from: Host, to: Target, count: number, waitMs = 0, least = count): Promise<void> {
  const done = await from.run([process.execPath, aborter, to.host, ...[to.port, count, waitMs].map(String)], 60_000);
  if (done.status !== 0) throw new Error(`the aborter ended with ${done.status}: ${tail(done.stderr)}`);
  if (Number(done.stdout) < least) throw new Error(`only ${done.stdout.trim()} of ${count} connections came up`);
}
