// start-up · the few libc calls Node does not offer: prctl, capset, rlimits, fcntl, malloc_trim.
// The only import of ffi-napi and ref-napi. A call costs microseconds and blocks: never on a connection's path.
import { getSystemErrorName } from "node:util";
import ffi from "ffi-napi";
import type ref from "ref-napi";

/** From linux/prctl.h. */
const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
/** From linux/fcntl.h. */
const F_SETFD = 2;
/** From linux/capability.h: version 3, two words per set. */
const CAPABILITY_VERSION_3 = 0x20080522;
export const capabilities = {
  DAC_READ_SEARCH: 2,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  NET_ADMIN: 12,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  BPF: 39,
} as const;
export type Capability = keyof typeof capabilities;

/** The set as 64 bits, as /proc shows it. */
export const setOf = (members: readonly Capability[]): bigint =>
  members.reduce((all, name) => all | (1n << BigInt(capabilities[name])), 0n);
/** RLIMIT_CORE and RLIMIT_NOFILE (getrlimit(2)). */
const resources = { core: 4, nofile: 7 } as const;

const libc = ffi.Library(null, {
  prctl: ["int", ["int", "ulong", "ulong", "ulong", "ulong"]],
  capset: ["int", ["pointer", "pointer"]],
  getrlimit: ["int", ["int", "pointer"]],
  setrlimit: ["int", ["int", "pointer"]],
  fcntl: ["int", ["int", "int", "int"]],
  malloc_trim: ["int", ["size_t"]],
});

/** A libc call failed. The fields are those of Node's own system errors: `code` is "EPERM" and `errno` negative. */
export class LibcError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  /** @param errno as libc has it, positive */
  constructor(syscall: string, errno: number) {
    const code = getSystemErrorName(-errno);
    super(`${syscall}: ${code}`);
    this.name = "LibcError";
    this.code = code;
    this.errno = -errno;
    this.syscall = syscall;
  }
}

function check(result: number, syscall: string): number {
  if (result < 0) throw new LibcError(syscall, ffi.errno());
  return result;
}

/** ffi-napi takes a Buffer for a pointer, and does not know its length: each caller passes a buffer of the right size. */
const pointer = (bytes: Buffer): ref.Pointer<unknown> => bytes as unknown as ref.Pointer<unknown>;

const prctl = (option: number, argument: number, name: string, rest: readonly number[] = []): number =>
  check(libc.prctl(option, argument, rest[0] ?? 0, rest[1] ?? 0, rest[2] ?? 0), `prctl(${name})`);

/** No core dump, and no other process of the same user may read the memory of this process. */
export function forbidDumps(): void {
  prctl(PR_SET_DUMPABLE, 0, "PR_SET_DUMPABLE");
}

/** Neither this thread nor any thread or program that it starts can gain a privilege again. */
export function forbidNewPrivileges(): void {
  prctl(PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS");
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

/** Of this process: getrlimit(2). RLIM_INFINITY is 2^64-1. @throws LibcError */
export function getLimit(resource: keyof typeof resources): Limit {
  const both = Buffer.alloc(LIMIT_BYTES);
  check(libc.getrlimit(resources[resource], pointer(both)), "getrlimit");
  return { soft: both.readBigUInt64LE(0), hard: both.readBigUInt64LE(8) };
}

/** setrlimit(2). @throws LibcError */
export function setLimit(resource: keyof typeof resources, limit: Limit): void {
  const both = Buffer.alloc(LIMIT_BYTES);
  both.writeBigUInt64LE(limit.soft, 0);
  both.writeBigUInt64LE(limit.hard, 8);
  check(libc.setrlimit(resources[resource], pointer(both)), "setrlimit");
}

/** Raises the soft limit of open files to the hard limit, and returns it. */
export function raiseOpenFiles(): bigint {
  const { soft, hard } = getLimit("nofile");
  if (soft < hard) setLimit("nofile", { soft: hard, hard });
  return getLimit("nofile").soft;
}

/** Sets the effective and the permitted set of this thread to `kept`; empties the inheritable and the ambient set. */
export function setCapabilities(kept: readonly Capability[]): void {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  const bits = setOf(kept);
  // Effective, permitted, inheritable; the lower words of all three, then the upper ones.
  const data = Buffer.alloc(24);
  for (const [word, at] of [
    [bits & 0xffff_ffffn, 0],
    [bits >> 32n, 12],
  ] as const) {
    data.writeUInt32LE(Number(word), at);
    data.writeUInt32LE(Number(word), at + 4);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT");
  check(libc.capset(pointer(header), pointer(data)), "capset");
}

/** Drops all but `kept` from the bounding set of this thread. Needs SETPCAP, unless nothing has to be dropped. */
export function shrinkBoundingSet(kept: readonly Capability[]): void {
  const bits = setOf(kept);
  for (let capability = 0; capability < 64; capability++) {
    if ((bits & (1n << BigInt(capability))) === 0n && inBoundingSet(capability)) {
      prctl(PR_CAPBSET_DROP, capability, "PR_CAPBSET_DROP");
    }
  }
}

/**
 * Node marks the descriptors that it was started with as close-on-exec; this one stays open through the exec
 * of `shedPrivileges`.
 */
export function keepOnExec(fd: number): void {
  check(libc.fcntl(fd, F_SETFD, 0), "fcntl(F_SETFD)");
}

/**
 * Gives the kernel back what malloc holds and nobody uses, of all threads (malloc_trim(3)). It takes a millisecond, in which a thread that
 * allocates may wait.
 */
export function trimMalloc(): void {
  libc.malloc_trim(0);
}
