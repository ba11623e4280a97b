// start-up · gives up the privileges of every thread, and reads in /proc which are left.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type Capability, forbidNewPrivileges, setCapabilities, setOf, shrinkBoundingSet } from "./libc.ts";

/** The privileges of a thread as /proc shows them (proc_pid_status(5)); a set of capabilities is 64 bits. */
export type Privileges = {
  readonly thread: number;
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: readonly number[];
  readonly inheritable: bigint;
  readonly permitted: bigint;
  readonly effective: bigint;
  readonly bounding: bigint;
  readonly ambient: bigint;
  readonly noNewPrivileges: boolean;
};

/** Pure: the text of /proc/<pid>/status. Throws when a line is missing, since an unknown privilege must not count as none. */
export function parsePrivileges(status: string): Privileges {
  const line = (name: string): string => {
    const found = new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1];
    if (found === undefined) throw new Error(`/proc status has no ${name}`);
    return found;
  };
  const numbers = (name: string): number[] => line(name).split(/\s+/).filter(Boolean).map(Number);
  const set = (name: string): bigint => BigInt(`0x${line(name)}`);
  return {
    thread: Number(line("Pid")),
    uids: numbers("Uid"),
    gids: numbers("Gid"),
    groups: numbers("Groups"),
    inheritable: set("CapInh"),
    permitted: set("CapPrm"),
    effective: set("CapEff"),
    bounding: set("CapBnd"),
    ambient: set("CapAmb"),
    noNewPrivileges: line("NoNewPrivs") === "1",
  };
}

/**
 * Of every thread of this process, the main thread first. The main thread is the thread whose number is the process': the
 * kernel begins again at low numbers when they are used up, so other threads may have lower numbers.
 */
export function readPrivileges(): Privileges[] {
  const main = Number(readlinkSync("/proc/self"));
  return readdirSync("/proc/self/task")
    .map(Number)
    .sort((a, b) => Number(b === main) - Number(a === main) || a - b)
    .map((thread) => parsePrivileges(readFileSync(`/proc/self/task/${thread}/status`, "utf8")));
}

/** The agent needs these between its start and `becomeUnprivileged`. */
export const agentStarts: readonly Capability[] = [
  "DAC_READ_SEARCH", // the checkout may lie where only its owner reads
  "SETGID",
  "SETUID",
  "SETPCAP",
];

/** The keeper needs these as long as it lives. */
export const keeperLives: readonly Capability[] = [
  "BPF", // programs, maps, links
  "NET_ADMIN", // their attachment; mark and transparent sockets; rule and route inside pods; the end of connections
  "SYS_ADMIN", // setns into a pod's network namespace; mounting the bpf file system on a plain machine
  "SYS_PTRACE", // to open /proc/<pid>/ns/net of another user's process
];
/** The keeper needs these until its code is loaded. */
export const keeperStarts: readonly Capability[] = [...keeperLives, "DAC_READ_SEARCH"];

/**
 * First act of keeper and agent. Gives up everything but `kept`, in *every* thread. Capabilities, bounding set and
 * no-new-privileges belong to a thread, and Node has started threads before the first line of this program runs. So the process
 * executes itself once more, with the same arguments, and its threads inherit. Returns when that is done or was not necessary.
 */
export function shedPrivileges(kept: readonly Capability[]): void {
  const allowed = setOf(kept);
  const all = readPrivileges();
  const [main] = all;
  // Without SETPCAP the bounding set stays. It grants nothing to a thread with no-new-privileges and nothing permitted
  // beyond `kept`.
  const shrinks = main !== undefined && (main.permitted & setOf(["SETPCAP"])) !== 0n;
  const shed = all.every(
    ({ noNewPrivileges, permitted, inheritable, bounding }) =>
      noNewPrivileges && ((permitted | inheritable) & ~allowed) === 0n && (!shrinks || (bounding & ~allowed) === 0n),
  );
  if (shed) return;
  if (main !== undefined && main.permitted !== 0n) {
    // PR_CAPBSET_DROP needs SETPCAP, so the bounding set goes first.
    if (shrinks) shrinkBoundingSet(kept);
    setCapabilities(heldOf(main, kept));
  }
  forbidNewPrivileges();
  if (!process.execve) throw new Error("this Node has no process.execve (22.15 and later have)");
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], process.env);
}

/** This thread gives up everything but `kept`; threads that it starts from here on inherit that. */
export function keepOnly(kept: readonly Capability[]): void {
  const [main] = readPrivileges();
  if (main !== undefined) setCapabilities(heldOf(main, kept));
}

const heldOf = ({ permitted }: Privileges, wanted: readonly Capability[]): Capability[] =>
  wanted.filter((name) => (permitted & setOf([name])) !== 0n);

/**
 * Last act of start-up: sets user, group and groups of all threads (libc's set*id signal every thread), and the kernel takes
 * their capabilities with the user. Before, the caller loads its code, starts its threads and opens its files. Throws unless
 * /proc then shows that no thread is root, holds a capability or can gain any.
 */
export function becomeUnprivileged(uid: number, gid: number): void {
  for (const id of [uid, gid]) {
    if (!Number.isInteger(id) || id <= 0 || id >= 0xffffffff)
      throw new RangeError(`user or group ${id}: not 1 to 2^32-2`);
  }
  const { setgroups, setgid, setuid, getuid } = process;
  if (!setgroups || !setgid || !setuid || !getuid) throw new Error("not a POSIX system");
  if (getuid() === 0) {
    shrinkBoundingSet([]);
    setgroups([]);
    setgid(gid);
    setuid(uid);
  }
  // An agent that was started as another user may hold capabilities.
  const [main] = readPrivileges();
  if (main !== undefined && (main.permitted | main.inheritable | main.ambient) !== 0n) setCapabilities([]);
  const wrong = readPrivileges().flatMap((thread) => privilegesLeft(thread));
  if (wrong.length > 0) throw new Error(`the agent still holds privileges: ${wrong.join("; ")}`);
}

/**
 * Pure: the privileges that a thread of the agent should not have; empty when it has none. The bounding sets of threads other
 * than the main thread may keep what `shedPrivileges` left there: they grant nothing with no-new-privileges and an empty
 * inheritable set.
 */
export function privilegesLeft(thread: Privileges): string[] {
  const left: string[] = [];
  if (thread.uids.includes(0)) left.push("user 0");
  if (thread.gids.includes(0) || thread.groups.includes(0)) left.push("group 0");
  for (const set of ["inheritable", "permitted", "effective", "ambient"] as const) {
    if (thread[set] !== 0n) left.push(`${set} capabilities ${thread[set].toString(16)}`);
  }
  if (!thread.noNewPrivileges) left.push("may gain new privileges");
  return left.map((what) => `thread ${thread.thread}: ${what}`);
}
