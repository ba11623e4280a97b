// Build time · reads the C headers that kernel, engine and TypeScript share and writes agent/abi.ts to stdout.
// Understands what those headers use and refuses the rest: #define NAME number, enum, enum class, struct of fixed-width fields.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

type Field = { name: string; offset: number; size: number; type: string; count: number };
type Layout = { size: number; align: number; fields: Field[] };

const scalars: Record<string, number> = {
  __u8: 1,
  __u16: 2,
  __u32: 4,
  __u64: 8,
  __s32: 4,
  __s64: 8,
  __be16: 2,
  __be32: 4,
  uint8_t: 1,
  uint16_t: 2,
  uint32_t: 4,
  uint64_t: 8,
  int32_t: 4,
  int64_t: 8,
};
const headers = ["../bpf/orlop_abi.h", "engine/core/arena.h", "engine/core/events.h", "engine/http/http1_refusal.h"];
const constants: [string, number][] = [];
/** Closed lists, by the name of their TypeScript array: what number i is called. */
const lists = new Map<string, string[]>();
/** Kinds of records, by the name of their TypeScript object: each kind's name and number. */
const kinds = new Map<string, [string, number][]>();
const layouts = new Map<string, Layout>();

const value = (text: string): number => {
  const shift = /^(\d+)u?\s*<<\s*(\d+)$/.exec(text);
  if (shift) return Number(shift[1]) * 2 ** Number(shift[2]);
  const known = constants.find(([name]) => name === text);
  const number = known ? known[1] : Number(text.replace(/[uU]?[lL]*$/, ""));
  if (!Number.isFinite(number)) throw new Error(`gen-abi: cannot read the number "${text}"`);
  return number;
};

function readStruct(name: string, body: string): void {
  const fields: Field[] = [];
  let offset = 0;
  let align = 1;
  for (const line of body
    .split(";")
    .map((part) => part.trim())
    .filter(Boolean)) {
    const parts = /^(struct\s+)?(\w+)\s+(\w+)(?:\[(\w+)\])?$/.exec(line);
    const [, nested, type = "", field = "", length] = parts ?? [];
    const inner = nested ? layouts.get(type) : undefined;
    const size = inner?.size ?? scalars[type];
    if (!parts || size === undefined) throw new Error(`gen-abi: cannot read the field "${line}" of struct ${name}`);
    const own = inner?.align ?? size;
    const count = length === undefined ? 1 : value(length);
    offset = Math.ceil(offset / own) * own;
    fields.push({ name: field, offset, size: size * count, type, count });
    offset += size * count;
    align = Math.max(align, own);
  }
  layouts.set(name, { size: Math.ceil(offset / align) * align, align, fields });
}

/** `kTlsPeerRejected` → `tls-peer-rejected`. */
const kebab = (name: string): string => name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "-").toLowerCase();
/** `CloseCause` → `closeCauses`: what the array of its names is called. */
const plural = (name: string): string => `${name.charAt(0).toLowerCase()}${name.slice(1)}s`;

/** `enum class Name : type { kFirst, kSecond }` without values of its own: a list of names, numbered from 0. */
function readList(name: string, body: string): void {
  const names = body
    .split(",")
    .map((member) => member.trim())
    .filter(Boolean);
  for (const member of names) {
    if (!/^k[A-Z]\w*$/.test(member))
      throw new Error(`gen-abi: cannot read the member "${member}" of enum class ${name}`);
  }
  lists.set(
    plural(name),
    names.map((member) => kebab(member.slice(1))),
  );
}

/** Without the prefix that all of them have: `ORLOP_ANSWER_REJECT_PEER` → `reject-peer`. */
function named(members: readonly [string, number][]): [string, number][] {
  const first = members[0]?.[0] ?? "";
  let prefix = first.length;
  while (!members.every(([name]) => name.startsWith(first.slice(0, prefix)) && first[prefix - 1] === "_")) prefix--;
  return members.map(([name, number]) => [name.slice(prefix).toLowerCase().replaceAll("_", "-"), number]);
}

const camel = (snake: string): string => snake.replace(/_+(\w)/g, (_, letter: string) => letter.toUpperCase());

for (const header of headers) {
  let text = readFileSync(fileURLToPath(new URL(header, import.meta.url)), "utf8");
  text = text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");
  const tokens =
    /^#define\s+(ORLOP_\w+)[ \t]+(\S.*?)\s*$|\benum\s+(?!class\b)(\w+)(?:\s*:\s*\w+)?\s*\{([^}]*)\}|\bstruct\s+(\w+)\s*\{([^}]*)\}|\benum\s+class\s+(\w+)(?:\s*:\s*\w+)?\s*\{([^}]*)\}/gm;
  for (const [, define, number, enumeration = "", members, struct, body, list, names] of text.matchAll(tokens)) {
    if (define !== undefined && number !== undefined) constants.push([define, value(number)]);
    else if (struct !== undefined && body !== undefined) readStruct(struct, body);
    else if (list !== undefined && names !== undefined) readList(list, names);
    else if (members !== undefined) {
      let next = 0;
      const found: [string, number][] = [];
      for (const member of members
        .split(",")
        .map((part) => part.trim())
        .filter(Boolean)) {
        const [name = "", given] = member.split("=").map((part) => part.trim());
        if (given !== undefined) next = value(given);
        found.push([name, next++]);
      }
      // The kinds of the engine's records become names; the hooks' numbers stay constants.
      if (header.startsWith("engine/")) kinds.set(plural(camel(enumeration.replace(/^orlop_/, ""))), named(found));
      else constants.push(...found);
    }
  }
}

const out: string[] = [
  "// any thread · generated by native/gen-abi.ts from bpf/orlop_abi.h and native/engine/{core/arena,core/events,http/http1_refusal}.h. Never edited; `make gen` renews it.",
  "",
];
for (const [name, number] of constants) out.push(`export const ${name} = ${number};`);
for (const [name, layout] of layouts) {
  out.push("", `/** Byte offsets in struct ${name}. */`, `export const ${camel(name)} = {`, `  size: ${layout.size},`);
  for (const field of layout.fields) out.push(`  ${camel(field.name)}: ${field.offset},`);
  out.push("} as const;");
}
for (const [name, members] of kinds) {
  out.push("", `export const ${name} = {`);
  for (const [member, number] of members) out.push(`  ${member.includes("-") ? `"${member}"` : member}: ${number},`);
  out.push("} as const;");
}
for (const [name, names] of lists) {
  out.push("", `export const ${name} = [`, ...names.map((text) => `  "${text}",`), "] as const;");
}
const counters = constants.filter(([name]) => name.startsWith("ORLOP_COUNT_") && name !== "ORLOP_COUNT_MAX");
out.push(
  "",
  "/** Names of the kernel's counters, by index, as they appear in metrics. */",
  "export const counterNames = [",
);
for (const [name] of counters) out.push(`  "${name.slice("ORLOP_COUNT_".length).toLowerCase()}",`);
out.push("] as const;", "");
process.stdout.write(out.join("\n"));
