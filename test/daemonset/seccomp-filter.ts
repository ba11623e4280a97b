// tests · a seccomp profile of daemonset/seccomp as the BPF that a container runtime would make of it. Pure but for asking cc
// for the numbers of system calls. Fails on whatever it does not know, so that no rule is lost in silence.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { endianness } from "node:os";

type Argument = { readonly index: number; readonly value: number; readonly valueTwo?: number; readonly op: string };
export type Rule = {
  readonly comment: string;
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly Argument[];
};
export type Profile = {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly Rule[];
};

export const readProfile = (name: "agent" | "keeper"): Profile =>
  JSON.parse(readFileSync(new URL(`../../daemonset/seccomp/${name}.json`, import.meta.url), "utf8"));

/** From linux/seccomp.h and linux/audit.h. */
const KILL_PROCESS = 0x8000_0000;
const ERRNO = 0x0005_0000;
const ALLOW = 0x7fff_0000;
const audit: Readonly<Record<string, { readonly arch: number; readonly name: string }>> = {
  x64: { arch: 0xc000_003e, name: "SCMP_ARCH_X86_64" },
  arm64: { arch: 0xc000_00b7, name: "SCMP_ARCH_AARCH64" },
};
/** From linux/bpf_common.h. */
const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K
/** Offsets in struct seccomp_data. */
const NR = 0;
const ARCH = 4;
const ARGS = 16;

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, k: number];

/** Numbers of this machine's system calls, by name, as its headers have them. */
export function systemCalls(): ReadonlyMap<string, number> {
  const text = execFileSync("cc", ["-dM", "-E", "-include", "asm/unistd.h", "-x", "c", "/dev/null"], {
    encoding: "utf8",
  });
  return new Map(
    [...text.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map(([, name = "", number]) => [name, Number(number)]),
  );
}

/** @param otherwise "kill": a violation ends the process, so that none can go unnoticed. "profile": what the profile says. */
export function compile(profile: Profile, otherwise: "kill" | "profile"): Uint8Array {
  const machine = audit[process.arch];
  if (machine === undefined || !profile.architectures.includes(machine.name)) {
    throw new Error(`the profile does not speak of ${process.arch}`);
  }
  const numbers = systemCalls();
  const code: Instruction[] = [
    [LOAD, 0, 0, ARCH],
    [EQUAL, 1, 0, machine.arch],
    [RETURN, 0, 0, KILL_PROCESS],
  ];
  for (const rule of profile.syscalls) {
    for (const name of rule.names) {
      const number = numbers.get(name);
      // Not every architecture has every call (open, access, …); a call that does not exist cannot be made.
      if (number !== undefined) code.push(...ruleCode(rule, number));
    }
  }
  if (profile.defaultAction !== "SCMP_ACT_ERRNO") throw new Error(`unknown default ${profile.defaultAction}`);
  code.push([RETURN, 0, 0, otherwise === "kill" ? KILL_PROCESS : ERRNO | profile.defaultErrnoRet]);
  return encode(code);
}

function ruleCode(rule: Rule, number: number): Instruction[] {
  const checks = (rule.args ?? []).flatMap(argumentCode);
  // Each check that fails jumps behind this rule's return.
  const rest: Instruction[] = [...checks, [RETURN, 0, 0, actionOf(rule)]];
  const body: Instruction[] = [[EQUAL, 0, rest.length, number], ...rest];
  const patched = body.map(
    ([op, jumpTrue, jumpFalse, k], at): Instruction =>
      op === EQUAL && at > 0 ? [op, jumpTrue, body.length - at - 1, k] : [op, jumpTrue, jumpFalse, k],
  );
  return [[LOAD, 0, 0, NR], ...patched];
}

/** Both halves of the 64-bit argument: the upper half counts, too. */
function argumentCode({ index, value, valueTwo, op }: Argument): Instruction[] {
  const low = ARGS + index * 8;
  if (value > 0xffff_ffff || (valueTwo ?? 0) > 0xffff_ffff) throw new Error("a value of more than 32 bits");
  switch (op) {
    case "SCMP_CMP_EQ":
      return [
        [LOAD, 0, 0, low + 4],
        [EQUAL, 0, 0, 0],
        [LOAD, 0, 0, low],
        [EQUAL, 0, 0, value],
      ];
    case "SCMP_CMP_MASKED_EQ":
      if (valueTwo === undefined) throw new Error("a mask without a value");
      return [
        [LOAD, 0, 0, low],
        [AND, 0, 0, value],
        [EQUAL, 0, 0, valueTwo],
      ];
    default:
      throw new Error(`unknown comparison ${op}`);
  }
}

function actionOf({ action, errnoRet }: Rule): number {
  if (action === "SCMP_ACT_ALLOW") return ALLOW;
  if (action === "SCMP_ACT_ERRNO" && errnoRet !== undefined) return ERRNO | errnoRet;
  throw new Error(`unknown action ${action}`);
}

/** struct sock_filter: u16 code, u8 jt, u8 jf, u32 k, in the machine's byte order. */
function encode(code: readonly Instruction[]): Uint8Array {
  if (endianness() !== "LE") throw new Error("argument offsets above are little-endian");
  const bytes = new DataView(new ArrayBuffer(code.length * 8));
  for (const [at, [op, jumpTrue, jumpFalse, k]] of code.entries()) {
    if (jumpTrue > 255 || jumpFalse > 255) throw new Error("a jump of more than 255 instructions");
    bytes.setUint16(at * 8, op, true);
    bytes.setUint8(at * 8 + 2, jumpTrue);
    bytes.setUint8(at * 8 + 3, jumpFalse);
    bytes.setUint32(at * 8 + 4, k >>> 0, true);
  }
  return new Uint8Array(bytes.buffer);
}
