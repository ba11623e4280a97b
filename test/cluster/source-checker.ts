// test cluster · holds what a source emits to the API server: each mesh is that of one whole state of each kind, and none is older than
// the mesh before it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { AcceptedObjects, type ObjectChange } from "../../agent/control/accepted-objects.ts";
import type { NodeSettings } from "../../agent/control/kinds/node-settings.ts";
import { watchedKinds } from "../../agent/control/kubernetes/watched-kinds.ts";
import { fullName } from "../../agent/mesh/full-name.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import { routeKey } from "../../agent/mesh/route-index.ts";
import { type KindHistory, stateText } from "./kind-history.ts";

type Present = Extract<ObjectChange, { readonly op: "present" }>;
/** What a source had applied when it emitted: the state of each kind in words. */
type Applied = ReadonlyMap<string, string>;

export class SourceChecker {
  readonly #settings: NodeSettings;
  readonly #file: string;
  readonly #mesh = new Map<string, unknown>();
  readonly #applied: Applied[] = [];
  readonly #wrong: string[] = [];
  /** Objects that were in one applied state and not in the next, by kind. */
  readonly gone = new Map<string, number>();
  /** Meshes of which the disk did not have the objects in time: the next mesh is held to them. */
  late = 0;

  /** @param file the source's copy of what it applies, which says which version of each object is in force */
  constructor(settings: NodeSettings, file: string) {
    this.#settings = settings;
    this.#file = file;
  }

  get meshes(): number {
    return this.#applied.length;
  }

  /** What is applied now, by kind; undefined while the mesh is not that of it. A change that changes nothing in the mesh emits nothing. */
  now(): Applied | undefined {
    const { objects } = keptIn(this.#file);
    return isDeepStrictEqual(this.#mesh, meshOf(objects, this.#settings)) ? appliedOf(objects) : undefined;
  }

  /** Another life of the source begins, with nothing in force. */
  restarts(): void {
    this.#mesh.clear();
  }

  /** Called within `emit`. Never throws: what is wrong is said by `verify`. */
  emitted(updates: readonly MeshUpdate[], appliedAt: string): void {
    for (const update of updates) {
      if (update.op === "remove") this.#mesh.delete(`${update.kind} ${update.key}`);
      else this.#mesh.set(keyIn(update), update.value);
    }
    const kept = keptIn(this.#file);
    if (kept.appliedAt !== appliedAt) {
      this.late += 1;
      return;
    }
    const wanted = meshOf(kept.objects, this.#settings);
    if (!isDeepStrictEqual(this.#mesh, wanted))
      this.#wrong.push(`mesh ${this.meshes}: ${difference(this.#mesh, wanted)}`);
    const applied = appliedOf(kept.objects);
    for (const [kind, state] of applied) this.#countGone(kind, this.#applied.at(-1)?.get(kind) ?? "", state);
    this.#applied.push(applied);
  }

  /** @throws AssertionError with the first mesh that was the mesh of no whole state, or went back */
  verify(histories: ReadonlyMap<string, KindHistory>): void {
    assert.deepEqual(this.#wrong, []);
    for (const [kind, history] of histories) {
      assert.equal(history.broken, "", `the history of ${kind} is not whole`);
      let from = 0;
      for (const [at, applied] of this.#applied.entries()) {
        const state = applied.get(kind) ?? "";
        const place = history.placeOf(state, from);
        assert.ok(
          place >= 0,
          `mesh ${at}: ${kind} was never so since its state ${from} of ${history.length}:\n${state}`,
        );
        from = place;
      }
    }
  }

  #countGone(kind: string, before: string, now: string): void {
    const names = (state: string): readonly string[] => state.split("\n").map((line) => line.split(" ")[0] ?? "");
    const present = new Set(names(now));
    const gone = names(before).filter((name) => name !== "" && !present.has(name)).length;
    this.gone.set(kind, (this.gone.get(kind) ?? 0) + gone);
  }
}

const stateOf = (objects: Iterable<Present>, kind: string): string =>
  stateText(
    [...objects].filter(({ version }) => version.kind === kind).map(({ version, uid }) => ({ ...version, uid })),
  );

const appliedOf = (objects: readonly Present[]): Applied =>
  new Map(watchedKinds.map(({ kind }) => [kind, stateOf(objects, kind)]));

/** The mesh of these objects, as an agent makes it that reads them at once and knows nothing else. */
function meshOf(objects: readonly Present[], settings: NodeSettings): Map<string, unknown> {
  const mesh = new Map<string, unknown>();
  for (const update of new AcceptedObjects(settings).apply(objects))
    if (update.op === "upsert") mesh.set(keyIn(update), update.value);
  return mesh;
}

/** As a later removal names it. */
function keyIn(update: Extract<MeshUpdate, { readonly op: "upsert" }>): string {
  if (update.kind === "workload") return `${update.kind} ${update.value.uid}`;
  return `${update.kind} ${update.kind === "http-route" ? routeKey(update.value) : fullName(update.value)}`;
}

const keyOf = ({ kind, namespace, name }: Pick<Present["version"], "kind" | "namespace" | "name">): string =>
  `${kind} ${namespace}/${name}`;

function difference(mesh: ReadonlyMap<string, unknown>, wanted: ReadonlyMap<string, unknown>): string {
  const keys = [...new Set([...mesh.keys(), ...wanted.keys()])];
  const differs = keys.filter((key) => !isDeepStrictEqual(mesh.get(key), wanted.get(key)));
  return differs
    .map((key) => `${key}\n  is     ${JSON.stringify(mesh.get(key))}\n  wanted ${JSON.stringify(wanted.get(key))}`)
    .join("\n");
}

/** The whole batches of the file; copy-file.ts describes it. */
function keptIn(file: string): { readonly objects: readonly Present[]; readonly appliedAt: string } {
  const objects = new Map<string, Present>();
  let batch: ObjectChange[] = [];
  let keptAt = "";
  for (const line of readFileSync(file, "utf8").split("\n").slice(1, -1)) {
    const read = JSON.parse(line) as ObjectChange | { readonly end: number; readonly appliedAt: string };
    if ("op" in read) {
      batch.push(read);
      continue;
    }
    for (const change of batch) {
      if (change.op === "present") objects.set(keyOf(change.version), change);
      else objects.delete(keyOf(change.object));
    }
    batch = [];
    keptAt = read.appliedAt;
  }
  return { objects: [...objects.values()], appliedAt: keptAt };
}
