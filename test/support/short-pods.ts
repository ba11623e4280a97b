// test support · pods that the cluster in a box knows nothing of, made and ended while its node runs, as a container runtime does; and what
// keeper and agent hold meanwhile.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync } from "node:fs";
import path from "node:path";
import { pidOf, until } from "../../demo/mesh/mesh-run.ts";
import type { Host, Node } from "../box/cluster.ts";
import { gatewayAddresses, vethLine } from "../box/network.ts";
import { type Running, startAt, startNamespace, tail } from "../box/process.ts";

const DEADLINE_MS = 60_000;

export type ShortPod = Host & {
  readonly uid: string;
  readonly cgroup: string;
  /** The shell that holds the namespace, and runs what is written to it. */
  readonly holder: Running;
};

/** A cgroup and a namespace in which nothing is set up but its loopback. `ip4`: the address that it will have. */
export async function startPod(node: Node, name: string, ip4: string, uid: string = randomUUID()): Promise<ShortPod> {
  const cgroup = path.join(node.podsCgroup, `pod${uid}`);
  mkdirSync(cgroup);
  const holder = startNamespace(name, cgroup, false);
  await holder.line(DEADLINE_MS, (line) => line === "up");
  await tellShell(holder, "ip link set lo up");
  const place = { name, pid: holder.pid, cgroup, mounts: false };
  return {
    ...{ name, uid, cgroup, holder, place, ip4, ip6: "" },
    start: (argv, options) => startAt(place, argv, options),
    run: (argv, deadlineMs = 10_000) => startAt(place, argv).wait(deadlineMs),
  };
}

/** The pod is joined to its node's bridge by `port`, and has no address yet. */
export async function wirePod(node: Node, { place }: ShortPod, port: string): Promise<void> {
  const line = vethLine({ pid: node.place.pid, name: port }, { pid: place.pid, name: "eth0" });
  const done = spawnSync("ip", line.split(" "), { encoding: "utf8" });
  assert.equal(done.status, 0, tail(done.stderr));
  const lines = `link set ${port} master pods\nlink set ${port} up\n`;
  const joined = await node.run(["sh", "-c", `printf '${lines}' | ip -batch -`]);
  assert.equal(joined.status, 0, tail(joined.stderr));
}

/** With a way to all others if it is wired, else on its loopback alone. */
export function giveAddress(pod: ShortPod, wiredNode?: number): Promise<void> {
  const address = `ip addr add ${pod.ip4}`;
  if (wiredNode === undefined) return tellShell(pod.holder, `${address}/32 dev lo`);
  const gateway = gatewayAddresses(wiredNode).ip4;
  // Of the address, as the bridge plug-in of CNI has it: a neighbour that knows the address knows the next pod that has it.
  const mac = ["0a", "58", ...pod.ip4.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"))].join(":");
  const link = `ip link set eth0 address ${mac} up`;
  return tellShell(pod.holder, `${link}; ${address}/24 dev eth0; ip route add default via ${gateway}`);
}

async function tellShell(holder: Running, command: string): Promise<void> {
  holder.write(`${command}\necho ready\n`);
  await holder.line(DEADLINE_MS, (line) => line === "ready");
}

/** Its processes end at once; nothing is waited for. */
export function killPod({ cgroup }: ShortPod): void {
  for (const pid of readFileSync(path.join(cgroup, "cgroup.procs"), "utf8").split("\n")) {
    if (Number(pid) <= 1) continue;
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

export async function podsEnded(pods: readonly ShortPod[]): Promise<void> {
  await Promise.all(pods.map(({ holder }) => holder.finished));
  await until("cgroups of pods that ended gone", DEADLINE_MS, () => {
    for (const { cgroup } of pods) {
      try {
        rmdirSync(cgroup);
      } catch (error) {
        if (!(error instanceof Error) || Reflect.get(error, "code") !== "ENOENT") return undefined;
      }
    }
    return true;
  });
}

export function programPid(node: Node, program: "agent" | "keeper"): number {
  const pid = pidOf(node, program);
  assert.ok(pid !== undefined, `no ${program} on ${node.name}`);
  return pid;
}

type Counts = Readonly<Record<string, number>>;

/**
 * Descriptors by what they are, and threads. Not the four threads of libuv's pool: they start together at the first work that a
 * process gives to the pool, which no pod causes and which may come at any time, and they stay until the process ends.
 */
export function heldBy(pid: number): Counts {
  const threads = readdirSync(`/proc/${pid}/task`).filter((thread) => nameOf(pid, thread) !== "libuv-worker");
  const counts: Record<string, number> = { threads: threads.length };
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const kind = readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:?\[.*/, "");
      counts[kind] = (counts[kind] ?? 0) + 1;
    } catch {
      // Closed while we looked.
    }
  }
  return counts;
}

function nameOf(pid: number, thread: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim();
  } catch {
    return undefined; // It has ended while we looked.
  }
}

export type Holdings = { readonly keeper: Counts; readonly agent: Counts };

export function holdings(node: Node): Holdings {
  return { keeper: heldBy(programPid(node, "keeper")), agent: heldBy(programPid(node, "agent")) };
}

/** The agent's pools of unconnected sockets for the pods that stay fill as they like. */
const POOLS = 24;
/** The keeper loads programs for the pods that come next, some time after others have taken theirs (agent/keeper/lookups-ahead.ts). */
const PROGRAMS_AHEAD = 32;

function slackOf(program: "keeper" | "agent", kind: string): number {
  if (program === "agent") return kind === "socket" ? POOLS : 0;
  return kind === "anon_inode:bpf-prog" ? PROGRAMS_AHEAD : 0;
}

/** Waits until neither program holds more than before. */
export async function noMoreThan(look: () => Holdings, before: Holdings): Promise<Holdings> {
  let now = before;
  await until("no more than before", DEADLINE_MS, () => {
    now = look();
    const more = (["keeper", "agent"] as const).flatMap((program) =>
      Object.entries(now[program]).filter(
        ([kind, count]) => count > (before[program][kind] ?? 0) + slackOf(program, kind),
      ),
    );
    return more.length === 0 ? true : undefined;
  }).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : error}: ${JSON.stringify({ before, now })}`);
  });
  return now;
}
