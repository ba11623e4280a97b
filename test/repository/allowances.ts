// test support · faults of the past, counted in test/repository/allowances.json: a file may have as many as are written there and never
// one more. After mending some, lower the number by hand or with `make allowances`.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const path = fileURLToPath(new URL("./allowances.json", import.meta.url));

/** Rule → folder → file or name → how often. Folders keep two people's changes apart in the file. */
type Allowances = Record<string, Record<string, Record<string, number>>>;

/** One thing a rule found. `key` is a path of the repository, or `<folder>/<name>`. */
export type Fault = { readonly key: string; readonly what: string };

const read = (): Allowances => JSON.parse(readFileSync(path, "utf8")) as Allowances;

function countsOf(faults: readonly Fault[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { key } of faults) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

/** Rewrites the numbers of one rule: to less where less was found, to nothing where nothing was. Never to more. */
function lower(rule: string, counts: ReadonlyMap<string, number>): void {
  const all = read();
  for (const [folder, allowed] of Object.entries(all[rule] ?? {})) {
    for (const [name, most] of Object.entries(allowed)) {
      const now = Math.min(most, counts.get(`${folder}/${name}`) ?? 0);
      if (now > 0) allowed[name] = now;
      else delete allowed[name];
    }
    if (Object.keys(allowed).length === 0) delete all[rule]?.[folder];
  }
  writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`);
}

/** Asserts that each key has exactly its allowance; a key that is not listed has none. */
export function holdToAllowance(rule: string, faults: readonly Fault[]): void {
  const counts = countsOf(faults);
  if (process.env.ALLOWANCES === "lower") lower(rule, counts);
  const allowed = read()[rule] ?? {};
  const wrong: string[] = [];
  for (const [key, count] of counts) {
    const most = allowed[dirname(key)]?.[basename(key)] ?? 0;
    if (count <= most) continue;
    const found = faults.filter((fault) => fault.key === key).map(({ what }) => `  ${what}`);
    wrong.push(`${key}: ${count}, allowed are ${most}`, ...found);
  }
  for (const [folder, names] of Object.entries(allowed)) {
    for (const [name, most] of Object.entries(names)) {
      const count = counts.get(`${folder}/${name}`) ?? 0;
      if (count < most) {
        wrong.push(
          `${folder}/${name}: ${count}, but test/repository/allowances.json still allows ${most}: lower it to ${count}`,
        );
      }
    }
  }
  assert.equal(wrong.join("\n"), "", `${rule}:\n${wrong.join("\n")}`);
}
