// bench · one side of a comparison: a way from the client's pod to the server's, and the processes that make it.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Pod } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";
import type { Target } from "../load/load.ts";
import type { Box, World } from "../world/world.ts";

/** Between two nodes, or between two pods of the same node. */
export type Route = "cross-node" | "same-node";

export type Side = {
  readonly name: string;
  readonly version: string;
  readonly box: Box;
  readonly client: Pod;
  readonly target: Target;
  /** All processes of it, on both nodes; asked again for each measurement. */
  pids(): readonly number[];
  /** Those of them that carry the bytes; all, unless said. */
  carriers?(): readonly number[];
  /** The serving side's pids. */
  serverPids(): readonly number[];
  /** Where the serving side takes mTLS 1.3 with ALPN h2, for whole handshakes; what the client shows there. */
  readonly handshake?: Handshake;
  stop(): Promise<void>;
};
export type Handshake = {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly serverName: string;
};

export type OpenSide = (world: World, route: Route) => Promise<Side>;

/** The client-side proxy listens here in the client's pod, the server-side one in the server's. */
export const NEAR_PORT = 7001;
export const FAR_PORT = 8443;
/** As FAR_PORT, but speaking HTTP/2 itself: for handshakes without an upstream connection. */
export const FAR_HTTP_PORT = 8444;

/** Both ends of the way: where the proxy pair runs. */
export async function endsOf(world: World, route: Route): Promise<{ box: Box; client: Pod; server: Pod }> {
  const box = await world.plain();
  return { box, client: box.client, server: route === "cross-node" ? box.server : box.neighbour };
}

/** A process and its children, as they are now. */
export function withChildren(running: Running): readonly number[] {
  const children = readFileSync(`/proc/${running.pid}/task/${running.pid}/children`, "utf8").trim();
  return [running.pid, ...(children === "" ? [] : children.split(" ").map(Number))];
}

/** Resolves once something listens at the port of the pod's namespace. Throws when the program ends before. */
export async function listening(pod: Pod, port: number, program: Running): Promise<void> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  // Local address, remote address, and the state: 0A is LISTEN.
  const wanted = new RegExp(`:${hex} [0-9A-F]+:0000 0A `);
  for (const end = performance.now() + 10_000; performance.now() < end; await sleep(20)) {
    if (!program.running) break;
    const tables = ["tcp", "tcp6"].map((table) => readFileSync(`/proc/${pod.place.pid}/net/${table}`, "utf8"));
    if (tables.some((table) => wanted.test(table))) return;
  }
  await program.stop();
  throw new Error(`${program.name} does not listen at ${port}: ${tail(program.stderr)}`);
}

/** A proxy in the client's pod and one in the server's. */
export type PairSpec = {
  readonly name: string;
  readonly version: string;
  readonly near: readonly string[];
  readonly far: readonly string[];
  readonly connectTo?: string;
  readonly handshake?: Handshake;
};

/** Starts the far one first, so that the near one finds it. */
export async function startPair(
  { box, client, server }: { box: Box; client: Pod; server: Pod },
  { name, version, near, far, connectTo, handshake }: PairSpec,
): Promise<Side> {
  const farProgram = server.start(far);
  await listening(server, FAR_PORT, farProgram);
  const nearProgram = client.start(near);
  const stop = async (): Promise<void> => {
    await Promise.all([nearProgram.stop(), farProgram.stop()]);
  };
  try {
    await listening(client, NEAR_PORT, nearProgram);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...{ name, version, box, client, stop },
    target: { host: "127.0.0.1", port: NEAR_PORT, ...(connectTo === undefined ? {} : { connectTo }) },
    pids: () => [nearProgram, farProgram].flatMap(withChildren),
    serverPids: () => withChildren(farProgram),
    ...(handshake === undefined ? {} : { handshake }),
  };
}
