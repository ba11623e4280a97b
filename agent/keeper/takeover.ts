// keeper · takes over from a keeper with another layout version: copies what its tables say, then gives its links to our
// programs in place, so that no pod is unguarded for a moment. What cannot be copied is ended, never left unjudged.
import { readdirSync, rmdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { KernelMap } from "./addon.ts";
import type { KeeperLog } from "./lend.ts";
import { parseLinkName } from "./pod-rows.ts";

/** The directory of pins of one layout version. */
export type Layout = { readonly version: number; readonly directory: string };

/**
 * Copied by name. Verdicts come first and captured namespaces last: a pod is captured only when all that is known about it
 * is there. A miss in any of them refuses or leaves the connection to the agent.
 *
 * Not copied: sockets (`inbound_socket`, until an agent prepares the pod again, plaintext for it is refused), flows under
 * way (`dst_of_flow`, `agent_flow`, `joined_flow`, `node_flow`) and events.
 */
export const COPIED_MAPS: readonly { readonly name: string; readonly array?: true }[] = [
  { name: "gate", array: true },
  { name: "counters", array: true },
  { name: "traffic" },
  { name: "in_by_port" },
  { name: "out_by_dst" },
  { name: "pair_verdict" },
  { name: "vip_backends" },
  { name: "node_port" },
  { name: "node_access", array: true },
  { name: "node_cgroup" },
  { name: "pod_by_ip" },
  { name: "pod_by_netns" },
];

/** The folders of a layout's directory, and the program of the links in them; undefined: the link's own name. */
const LINK_FOLDERS = [
  { folder: "links", program: undefined },
  { folder: "own", program: undefined },
  { folder: "pods", program: "orlop_lookup" },
] as const;

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Layouts that other keepers left beside `own`, oldest first. */
export function otherLayouts(own: string): Layout[] {
  const parent = join(own, "..");
  return namesIn(parent)
    .flatMap((name) => {
      const version = /^v([1-9]\d{0,4})$/.exec(name)?.[1];
      const directory = join(parent, name);
      return version === undefined || directory === own ? [] : [{ version: Number(version), directory }];
    })
    .sort((older, newer) => older.version - newer.version);
}

/** Bytes of another version's value in the size of ours: values only ever grew at their end, so what is new is zero. */
function fitted(bytes: Uint8Array, size: number): Uint8Array {
  if (bytes.length === size) return bytes;
  const out = new Uint8Array(size);
  out.set(bytes.subarray(0, size));
  return out;
}

type Copied = Pick<KernelMap, "name" | "keyBytes" | "valueBytes" | "dump" | "put" | "cpus" | "maxEntries">;

/**
 * Every entry of `from` into `to`; how many. Of an array, those that both have.
 * @throws when keys differ in size, or `to` is full: nothing may be attached then, and the other layout stays in force
 */
export function copyEntries(from: Copied, to: Copied, array = false): number {
  if (from.keyBytes !== to.keyBytes) {
    throw new Error(`map ${to.name}: its keys have ${to.keyBytes} bytes, those of the other layout ${from.keyBytes}`);
  }
  if (from.cpus !== to.cpus) throw new Error(`map ${to.name}: per-CPU in one layout alone`);
  const [wide, narrow] = [from.valueBytes / from.cpus, to.valueBytes / to.cpus];
  const bytes = from.dump();
  const size = from.keyBytes + from.valueBytes;
  let count = 0;
  for (let at = 0; at + size <= bytes.length; at += size) {
    const key = bytes.subarray(at, at + from.keyBytes);
    if (array && count >= to.maxEntries) break;
    const perCpu = Array.from({ length: from.cpus }, (_, cpu) => {
      const start = at + from.keyBytes + cpu * wide;
      return fitted(bytes.subarray(start, start + wide), narrow);
    });
    to.put(key, Buffer.concat(perCpu));
    count++;
  }
  return count;
}

/** Pods by the name of their link, in two layouts at once, must be the same pods. */
export function conflictingPods(own: readonly string[], other: readonly string[]): string[] {
  const parsed = own.flatMap((name) => parseLinkName(name) ?? []);
  return other.filter((name) => {
    const pod = parseLinkName(name);
    return pod && parsed.some(({ podIdx, uid }) => (podIdx === pod.podIdx) !== (uid === pod.uid));
  });
}

export interface TakeoverParts {
  /** Our own table of that name, loaded. */
  map(name: string): KernelMap;
  /** As Programs.moveLink. */
  moveLink(program: string, from: string, to: string): void;
  detach(pin: string): void;
  programNames(): readonly string[];
  openMap(path: string): KernelMap;
  /** Ends what the other layout's dst_of_sock marks as bypassing the agent, in the namespace of each pod; how many. */
  endMarked(uid: string, sockMapFd: number): Promise<number>;
}

/**
 * One other layout's state and links become ours; then its directory goes. May be repeated after a crash at any point.
 * @param own our directory of pins
 */
export async function takeOver(other: Layout, own: string, parts: TakeoverParts, log: KeeperLog): Promise<void> {
  const pods = namesIn(join(other.directory, "pods"));
  const conflicts = conflictingPods(namesIn(join(own, "pods")), pods);
  if (conflicts.length > 0) {
    const which = conflicts.join(", ");
    throw new Error(
      `${own} and ${other.directory} hold different pods (${which}): remove the one that is not in force`,
    );
  }
  const entries = copyTables(other, parts);
  for (const { folder, program } of LINK_FOLDERS) {
    for (const name of namesIn(join(other.directory, folder))) {
      const pin = join(other.directory, folder, name);
      const known = program ?? parts.programNames().find((own) => own === name);
      if (known === undefined) parts.detach(pin);
      else parts.moveLink(known, pin, join(own, folder, name));
    }
  }
  // From here on ours alone judge. What the other layout let past the agent was marked in its own socket storage.
  const ended = await endMarkedConnections(other, pods, parts);
  removeTree(other.directory);
  log.info("took over from another layout version", { version: other.version, pods: pods.length, entries, ended });
}

function copyTables(other: Layout, parts: TakeoverParts): number {
  let entries = 0;
  for (const { name, array } of COPIED_MAPS) {
    const from = openIfThere(other, name, parts);
    if (from === undefined) continue;
    try {
      entries += copyEntries(from, parts.map(name), array);
    } finally {
      from.close();
    }
  }
  return entries;
}

async function endMarkedConnections(other: Layout, pods: readonly string[], parts: TakeoverParts): Promise<number> {
  const storage = openIfThere(other, "dst_of_sock", parts);
  if (storage === undefined) return 0;
  let ended = 0;
  try {
    for (const name of pods) {
      const pod = parseLinkName(name);
      if (pod !== undefined) ended += await parts.endMarked(pod.uid, storage.fd);
    }
  } finally {
    storage.close();
  }
  return ended;
}

/** Undefined: that layout had no such map, or a takeover that was cut short has removed it. */
function openIfThere(other: Layout, name: string, parts: TakeoverParts): KernelMap | undefined {
  try {
    return parts.openMap(join(other.directory, "maps", name));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** bpffs holds only files and directories; nothing in it is followed. */
export function removeTree(directory: string): void {
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) removeTree(path);
    else unlinkSync(path);
  }
  rmdirSync(directory);
}
