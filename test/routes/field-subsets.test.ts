// A random set of the fields that a kind knows: of what is known and not honoured the status has each field, and nothing else; it changes nothing of
// what is read. A field that nobody knows is refused with its place, wherever and beside whatever it is.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { loadConfig } from "../../agent/config/load.ts";
import { ConfigError } from "../../agent/control/kinds/value.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { Dice } from "../support/dice.ts";
import { type KnownFields, type Tree, variedKinds } from "./varied-fields.ts";

const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const ROUNDS = 150;
const example = new URL("../../docs/examples/two-nodes.yaml", import.meta.url).pathname;
const { settings } = loadConfig(example, {}).agent;

type Place = readonly (string | number)[];
type Said = { readonly code: string; readonly what: string; readonly line: number; readonly column: number };
type Outcome = {
  readonly read: string;
  readonly said: readonly Said[];
  readonly isRefused: boolean;
  readonly text: string;
};

const service = (name: string): Tree => ({
  ...{ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop" } },
  spec: { clusterIP: `10.96.0.${name.length}`, selector: { app: name }, ports: [{ name: "http", port: 80 }] },
});

/** What is read, without the places where it is written. */
function outcomeOf(document: Tree): Outcome {
  const others = document.kind === "Service" ? [] : [service("api"), service("other")];
  const text = [...others, document].map((each) => JSON.stringify(each, null, 1)).join("\n---\n");
  const saidOf = ({ code, what, from }: { code: string; what: string; from: object }): Said => {
    assert.ok("line" in from && "column" in from, `${what} has no place`);
    return { code, what, line: Number(from.line), column: Number(from.column) };
  };
  try {
    const { updates, findings } = translateTexts([{ file: "f.yaml", text }], settings);
    const read = JSON.stringify(updates, (key, value) => (key === "from" ? undefined : value));
    return { read, said: findings.map(saidOf), isRefused: false, text };
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return { read: "", said: error.problems.map(saidOf), isRefused: true, text };
  }
}

const placeOf = (path: string): Place => path.split(".").map((step) => (/^\d+$/.test(step) ? Number(step) : step));
const shown = (path: string): string => path.replace(/\.(\d+)/g, "[$1]");

function put(tree: Tree, place: Place, value: unknown): void {
  let at: unknown = tree;
  for (const [nth, step] of place.slice(0, -1).entries()) {
    const holder = at as Record<string | number, unknown>;
    holder[step] ??= typeof place[nth + 1] === "number" ? [] : {};
    at = holder[step];
  }
  (at as Record<string | number, unknown>)[place.at(-1) ?? ""] = value;
}

function documentWith(base: Tree, fields: Readonly<Record<string, unknown>>, paths: readonly string[]): Tree {
  const document = structuredClone(base);
  for (const path of paths) put(document, placeOf(path), structuredClone(fields[path]));
  return document;
}

/** Each map below, but those whose keys are anybody's, and what nobody looks into. */
function mapsOf(tree: unknown, place: Place, isClosed: (place: Place) => boolean): readonly Place[] {
  if (typeof tree !== "object" || tree === null || isClosed(place)) return [];
  const inner = Object.entries(tree).flatMap(([step, each]) =>
    mapsOf(each, [...place, Array.isArray(tree) ? Number(step) : step], isClosed),
  );
  return Array.isArray(tree) ? inner : [place, ...inner];
}

/** Among the fields that are there. */
function insert(tree: Tree, place: Place, name: string, dice: Dice): void {
  const holder = place.reduce<unknown>((at, step) => (at as Record<string | number, unknown>)[step], tree) as Tree;
  const entries = Object.entries(holder);
  entries.splice(dice.roll(entries.length + 1), 0, [name, dice.pick<unknown>([1, "x", {}, [], null, true])]);
  for (const key of Object.keys(holder)) delete holder[key];
  Object.assign(holder, Object.fromEntries(entries));
}

const some = (dice: Dice, of: Readonly<Record<string, unknown>>, oneIn: number): readonly string[] =>
  Object.keys(of).filter(() => dice.roll(oneIn) === 0);

function holds(kind: string, { base, honoured, reported, refused, open }: KnownFields): void {
  const all = { ...honoured, ...reported, ...refused };

  test(`${kind}: of any set of its ${Object.keys(all).length} fields those are reported that are not honoured (seed ${seed})`, () => {
    const dice = new Dice(seed);
    const met = new Set<string>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const [taken, idle] = [some(dice, honoured, 2), some(dice, reported, 3)];
      const wrong = round % 3 === 0 ? some(dice, refused, 2) : [];
      const document = documentWith(base, all, [...taken, ...idle, ...wrong]);
      const { read, said, isRefused, text } = outcomeOf(document);
      const hint = `seed ${seed} round ${round}: ${JSON.stringify(said)}\n${text}`;
      assert.equal(isRefused, wrong.length > 0, hint);
      const wanted = (isRefused ? wrong : idle).map((path) => `ORL4106 ${shown(path)} is not honoured`);
      assert.deepEqual(said.map(({ code, what }) => `${code} ${what}`).sort(), [...wanted].sort(), hint);
      if (!isRefused) assert.equal(read, outcomeOf(documentWith(base, all, taken)).read, hint);
      for (const path of [...taken, ...idle, ...wrong]) met.add(path);
    }
    assert.deepEqual([...met].sort(), Object.keys(all).sort());
  });

  test(`${kind}: fields that nobody knows are refused, each with its place, at any depth (seed ${seed})`, () => {
    const dice = new Dice(seed);
    const depths = new Set<number>();
    for (let round = 0; round < ROUNDS; round += 1) {
      const document = documentWith(base, all, [...some(dice, honoured, 2), ...some(dice, reported, 4)]);
      const ends = [...Object.keys(reported), ...Object.keys(refused), ...open].map((path) => placeOf(path).join("."));
      const maps = mapsOf(document.spec, ["spec"], (place) => ends.includes(place.join(".")));
      const names = Array.from({ length: 1 + dice.roll(3) }, (_, nth) => `zz${dice.roll(1_000)}q${nth}`);
      for (const name of names) {
        const place = dice.pick(maps);
        depths.add(place.length);
        insert(document, place, name, dice);
      }
      const { said, isRefused, text } = outcomeOf(document);
      const hint = `seed ${seed} round ${round}: ${JSON.stringify(said)}\n${text}`;
      assert.ok(isRefused, hint);
      const places = said.map(({ code, what, line, column }) => {
        assert.equal(code, "ORL4102", hint);
        return `${/has no field "?(\w+)"?/.exec(what)?.[1]} ${line}:${column}`;
      });
      const lines = text.split("\n");
      const wanted = names.map((name) => {
        const line = lines.findIndex((each) => each.includes(`"${name}":`));
        return `${name} ${line + 1}:${(lines[line]?.indexOf(`"${name}"`) ?? -1) + 1}`;
      });
      assert.deepEqual(places.sort(), wanted.sort(), hint);
    }
    assert.ok(depths.size >= 2, `depths ${[...depths].join()}`);
  });
}

for (const [kind, fields] of Object.entries(variedKinds)) holds(kind, fields);
