// main thread, at start-up only · the few libc calls Node does not offer: prctl, capset, rlimits, mlock, interface names.
// The only import of ffi-napi and ref-napi. A call costs microseconds and blocks: never on a connection's path.
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import ffi from "ffi-napi";
import ref from "ref-napi";

/** From linux/prctl.h. */
const PR_SET_DUMPABLE = 4;
const PR_GET_DUMPABLE = 3;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_GET_NO_NEW_PRIVS = 39;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
/** From linux/fcntl.h. */
const F_SETFD = 2;
/** From linux/capability.h: version 3, two words per set. */
const CAPABILITY_VERSION_3 = 0x20080522;
const capabilities = { DAC_READ_SEARCH: 2, SETGID: 6, SETUID: 7, SETPCAP: 8 } as const;
/** if_nametoindex(3): a name and its NUL. */
const IF_NAMESIZE = 16;
const resources = { core: 4, nofile: 7, memlock: 8 } as const;

const libc = ffi.Library(null, {
  prctl: ["int", ["int", "ulong", "ulong", "ulong", "ulong"]],
  capset: ["int", ["pointer", "pointer"]],
  getrlimit: ["int", ["int", "pointer"]],
  setrlimit: ["int", ["int", "pointer"]],
  mlock: ["int", ["pointer", "size_t"]],
  munlock: ["int", ["pointer", "size_t"]],
  fcntl: ["int", ["int", "int", "int"]],
  if_nametoindex: ["uint", ["string"]],
  if_indextoname: ["pointer", ["uint", "pointer"]],
});

/** A libc call said no. `code` as Node writes it ("EPERM"), `errno` positive, `syscall` the function's name. */
export class LibcError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number) {
    const code = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `E${errno}`;
    super(`${syscall}: ${code}`);
    this.name = "LibcError";
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

function check(result: number, syscall: string): number {
  if (result < 0) throw new LibcError(syscall, ffi.errno());
  return result;
}

/** The border to ffi-napi, which takes a Buffer for a pointer; its length is checked by each caller here. */
const pointer = (bytes: Buffer): ref.Pointer<unknown> => bytes as unknown as ref.Pointer<unknown>;

const prctl = (option: number, argument: number, name: string, rest: readonly number[] = []): number =>
  check(libc.prctl(option, argument, rest[0] ?? 0, rest[1] ?? 0, rest[2] ?? 0), `prctl(${name})`);

/** No core dump, and no other process of the same user may read our memory. For the whole process. */
export function forbidDumps(): void {
  prctl(PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE");
}

export function mayBeDumped(): boolean {
  return prctl(PR_GET_DUMPABLE, 0, "PR_GET_DUMPABLE") !== 0;
}

/** This thread, and all it starts or becomes by exec, can never gain a privilege again. */
export function forbidNewPrivileges(): void {
  prctl(PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS");
}

export function newPrivilegesForbidden(): boolean {
  return prctl(PR_GET_NO_NEW_PRIVS, 0, "PR_GET_NO_NEW_PRIVS") === 1;
}

/** Is this capability (its number in linux/capability.h) in the bounding set? False as well when the kernel knows none such. */
export function inBoundingSet(capability: number): boolean {
  try {
    return prctl(PR_CAPBSET_READ, capability, "PR_CAPBSET_READ") === 1;
  } catch (error) {
    if (error instanceof LibcError && error.code === "EINVAL") return false;
    throw error;
  }
}

export type Limit = { readonly soft: bigint; readonly hard: bigint };

/** struct rlimit: two unsigned longs, 64 bit on every machine Node 24 runs on. */
const LIMIT_BYTES = 16;

export function getLimit(resource: keyof typeof resources): Limit {
  const both = Buffer.alloc(LIMIT_BYTES);
  check(libc.getrlimit(resources[resource], pointer(both)), "getrlimit");
  return { soft: both.readBigUInt64LE(0), hard: both.readBigUInt64LE(8) };
}

export function setLimit(resource: keyof typeof resources, limit: Limit): void {
  const both = Buffer.alloc(LIMIT_BYTES);
  both.writeBigUInt64LE(limit.soft, 0);
  both.writeBigUInt64LE(limit.hard, 8);
  check(libc.setrlimit(resources[resource], pointer(both)), "setrlimit");
}

/** Raises the soft limit of open files to the hard one; returns what it is now. */
export function raiseOpenFiles(): bigint {
  const { soft, hard } = getLimit("nofile");
  if (soft < hard) setLimit("nofile", { soft: hard, hard });
  return getLimit("nofile").soft;
}

/**
 * Keeps the pages of a key out of swap. `key` must be all of its ArrayBuffer: a slice of Node's pool would lock, and on
 * unlock release, pages that others use. ENOMEM: RLIMIT_MEMLOCK is too small.
 */
export function lockMemory(key: Buffer): void {
  check(libc.mlock(pointer(wholeAllocation(key)), key.byteLength), "mlock");
}

export function unlockMemory(key: Buffer): void {
  check(libc.munlock(pointer(wholeAllocation(key)), key.byteLength), "munlock");
}

function wholeAllocation(key: Buffer): Buffer {
  if (key.byteLength === 0) throw new RangeError("lockMemory: the buffer is empty");
  if (key.byteOffset !== 0 || key.buffer.byteLength !== key.byteLength) {
    throw new RangeError("lockMemory: the buffer must own its allocation (Buffer.allocUnsafeSlow)");
  }
  return key;
}

/** 0 < index, or ENODEV. In the network namespace of the process. */
export function interfaceIndex(name: string): number {
  if (name.length === 0 || Buffer.byteLength(name) >= IF_NAMESIZE || name.includes("\0")) {
    throw new RangeError(`interface name "${name}": 1 to ${IF_NAMESIZE - 1} bytes, no NUL`);
  }
  const index = libc.if_nametoindex(name);
  if (index === 0) throw new LibcError("if_nametoindex", ffi.errno());
  return index;
}

export function interfaceName(index: number): string {
  if (!Number.isInteger(index) || index <= 0 || index > 0x7fffffff) throw new RangeError(`interface index ${index}`);
  const name = Buffer.alloc(IF_NAMESIZE);
  const result = libc.if_indextoname(index, pointer(name));
  if (ref.isNull(result)) throw new LibcError("if_indextoname", ffi.errno());
  const end = name.indexOf(0);
  return name.toString("utf8", 0, end < 0 ? IF_NAMESIZE : end);
}

/** Sets effective, permitted and inheritable of this thread to exactly `kept`; empties the ambient set. */
function setCapabilities(kept: readonly number[]): void {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  const bits = kept.reduce((all, capability) => all | (1 << capability), 0) >>> 0;
  const data = Buffer.alloc(24);
  data.writeUInt32LE(bits, 0); // effective; inheritable (offset 8) and the upper words stay empty
  data.writeUInt32LE(bits, 4); // permitted
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT");
  check(libc.capset(pointer(header), pointer(data)), "capset");
}

function shrinkBoundingSet(kept: readonly number[]): void {
  for (let capability = 0; capability < 64; capability++) {
    if (!kept.includes(capability) && inBoundingSet(capability)) {
      prctl(PR_CAPBSET_DROP, capability, "PR_CAPBSET_DROP");
    }
  }
}

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

/** Node marks whatever it was started with to be closed by an exec; this descriptor shall outlive that of `shedPrivileges`. */
export function keepOnExec(fd: number): void {
  check(libc.fcntl(fd, F_SETFD, 0), "fcntl(F_SETFD)");
}

/** What the agent needs between its start and `becomeUnprivileged`, and nothing more. */
const untilUnprivileged = [
  capabilities.DAC_READ_SEARCH, // the checkout may lie where only its owner reads
  capabilities.SETGID,
  capabilities.SETUID,
  capabilities.SETPCAP,
];

/**
 * First act of the agent. Gives up everything but what `becomeUnprivileged` and reading our own files need, in *every*
 * thread: bounding set and no-new-privileges belong to a thread, and Node has started threads before our first line
 * runs, so the process executes itself once more, with the same arguments, and its threads inherit. Returns when that
 * is done or was never needed (not root, no capability).
 */
export function shedPrivileges(): void {
  const allowed = untilUnprivileged.reduce((all, capability) => all | (1n << BigInt(capability)), 0n);
  const shed = readPrivileges().every(
    (one) => one.noNewPrivileges && ((one.bounding | one.permitted | one.inheritable) & ~allowed) === 0n,
  );
  if (shed) return;
  const [main] = readPrivileges();
  if (main !== undefined && main.permitted !== 0n) {
    // PR_CAPBSET_DROP needs SETPCAP, so the bounding set goes first.
    shrinkBoundingSet(untilUnprivileged);
    const held = untilUnprivileged.filter((capability) => main.permitted & (1n << BigInt(capability)));
    setCapabilities(held);
  }
  forbidNewPrivileges();
  if (!process.execve) throw new Error("this Node has no process.execve (22.15 and later have)");
  process.execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], process.env);
}

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
