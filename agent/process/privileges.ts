// start-up · giving up privileges in every thread, and what /proc says of that.
import { readdirSync, readFileSync } from "node:fs";
import { type Capability, forbidNewPrivileges, setCapabilities, setOf, shrinkBoundingSet } from "./libc.ts";

/** What /proc says about the privileges of one thread. Sets as 64 bits. */
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

/** Pure: the text of /proc/<pid>/status. A missing line is an error: what we cannot read we do not believe. */
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

/** Of every thread of this process, the main one first. */
export function readPrivileges(): Privileges[] {
  return readdirSync("/proc/self/task")
    .map(Number)
    .sort((a, b) => a - b)
    .map((thread) => parsePrivileges(readFileSync(`/proc/self/task/${thread}/status`, "utf8")));
}

/** What the agent needs between its start and `becomeUnprivileged`, and nothing more. */
export const agentStarts: readonly Capability[] = [
  "DAC_READ_SEARCH", // the checkout may lie where only its owner reads
  "SETGID",
  "SETUID",
  "SETPCAP",
];

/** What the keeper needs as long as it lives. */
export const keeperLives: readonly Capability[] = [
  "BPF", // programs, maps, links
  "NET_ADMIN", // their attachment; mark and transparent sockets; rule and route inside pods; the end of connections
  "SYS_ADMIN", // setns into a pod's network namespace; mounting the bpf file system on a plain machine
  "SYS_PTRACE", // to open /proc/<pid>/ns/net of another user's process
];
/** And until its code is loaded. */
export const keeperStarts: readonly Capability[] = [...keeperLives, "DAC_READ_SEARCH"];

/**
 * First act of keeper and agent. Gives up everything but `kept`, in *every* thread: capabilities, bounding set and
 * no-new-privileges belong to a thread, and Node has started threads before our first line runs, so the process executes
 * itself once more, with the same arguments, and its threads inherit. Returns when that is done or was never needed.
 */
export function shedPrivileges(kept: readonly Capability[]): void {
  const allowed = setOf(kept);
  const all = readPrivileges();
  const [main] = all;
  // Without SETPCAP the bounding set stays; with no-new-privileges and nothing permitted beyond `kept` it reaches nobody.
  const shrinks = main !== undefined && (main.permitted & setOf(["SETPCAP"])) !== 0n;
  const shed = all.every(
    (one) =>
      one.noNewPrivileges &&
      ((one.permitted | one.inheritable) & ~allowed) === 0n &&
      (!shrinks || (one.bounding & ~allowed) === 0n),
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

/** This thread, and those that it starts from here on, keep these alone, as far as it holds them. */
export function keepOnly(kept: readonly Capability[]): void {
  const [main] = readPrivileges();
  if (main !== undefined) setCapabilities(heldOf(main, kept));
}

const heldOf = (one: Privileges, wanted: readonly Capability[]): Capability[] =>
  wanted.filter((name) => (one.permitted & setOf([name])) !== 0n);

/**
 * Last act of start-up: user, group and groups of all threads (libc's set*id signal every thread), and with the user
 * their capabilities. The caller has loaded its code, started its threads and opened its files. Throws unless /proc
 * then shows what was promised: no thread is root, none holds a capability, none can gain one.
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
  // Started as another user, perhaps with capabilities: this thread gives up what it holds.
  const [main] = readPrivileges();
  if (main !== undefined && (main.permitted | main.inheritable | main.ambient) !== 0n) setCapabilities([]);
  const wrong = readPrivileges().flatMap((one) => privilegesLeft(one));
  if (wrong.length > 0) throw new Error(`the agent still holds privileges: ${wrong.join("; ")}`);
}

/**
 * Pure: what this thread should not have; empty when unprivileged. The bounding set of a thread other than the main one
 * may keep what `shedPrivileges` left there: with no-new-privileges and nothing inheritable it can reach nobody.
 */
export function privilegesLeft(one: Privileges): string[] {
  const left: string[] = [];
  if (one.uids.includes(0)) left.push("user 0");
  if (one.gids.includes(0) || one.groups.includes(0)) left.push("group 0");
  for (const set of ["inheritable", "permitted", "effective", "ambient"] as const) {
    if (one[set] !== 0n) left.push(`${set} capabilities ${one[set].toString(16)}`);
  }
  if (!one.noNewPrivileges) left.push("may gain new privileges");
  return left.map((what) => `thread ${one.thread}: ${what}`);
}
