// Random histories of a cluster, followed through random faults by agents that start again: every mesh that is passed on is the mesh of
// one whole state of each kind, none of them older than what was passed on before. So a policy that was in force is, until it was deleted.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { MeshStore } from "../../mesh/store.ts";
import { AcceptedObjects, type ObjectChange } from "../accepted-objects.ts";
import { FakeCluster, type KindObjects, servedOf } from "./cluster.fake.ts";
import { KubernetesSource } from "./source.ts";
import { watchedKinds } from "./watched-kinds.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const ROUNDS = 12;
const settings = {
  ...{ node: "west", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
/** Kinds of which each object is an object of the mesh, and says its version there. */
const visible = ["Pod", "Service", "PeerAuthentication", "AuthorizationPolicy", "HTTPRoute", "LimitPolicy"] as const;

function bodyOf(dice: Dice): (kind: string, name: string) => object {
  const app = (): string => dice.pick(["web", "api"]);
  return (kind, name) => {
    const host = 1 + Number(name.slice(1));
    switch (kind) {
      case "Pod":
        return {
          metadata: { labels: { app: app() } },
          spec: { nodeName: dice.pick(["west", "east"]), serviceAccountName: app() },
          // Now and then two pods claim an address.
          status: { phase: "Running", podIPs: [{ ip: `10.0.0.${dice.chance(90) ? host : 1}` }] },
        };
      case "Namespace":
        return { metadata: { labels: dice.chance(60) ? { "orlop.dev/dataplane-mode": "ambient" } : {} } };
      case "Service":
        return { spec: { clusterIP: `10.96.0.${host}`, selector: { app: app() }, ports: [{ port: 80 }] } };
      case "PeerAuthentication":
        return { spec: { mtls: { mode: dice.pick(["STRICT", "PERMISSIVE", "LOOSE"]) } } };
      case "AuthorizationPolicy":
        return {
          spec: { action: dice.pick(["ALLOW", "DENY", "NONE"]), rules: [dice.chance(20) ? { newer: true } : {}] },
        };
      case "HTTPRoute": {
        const service = { group: "", kind: "Service", name, port: 80 };
        return { spec: { parentRefs: [service], rules: [{ backendRefs: [{ name: app(), port: 80 }] }] } };
      }
      case "LimitPolicy":
        return { spec: { local: { requests: 1 + dice.roll(9), per: "second" } } };
      default:
        return {};
    }
  };
}

const emptyMesh = (): MeshStore => new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });

/** All that decides about connections, in one text. */
function textOf(mesh: MeshStore): string {
  const policies = [mesh.peerAuthentications(), mesh.authorizationPolicies()];
  const parts = [mesh.workloads(), mesh.services(), ...policies, mesh.httpRoutes(), mesh.limitPolicies()];
  return parts
    .map((values) =>
      [...values]
        .map((value) => JSON.stringify(value))
        .sort()
        .join("\n"),
    )
    .join("\n\n");
}

/** The objects of a kind that are in a mesh, with their versions. */
function versionsIn(mesh: MeshStore, kind: string): string {
  const values: readonly { readonly from: SourceRef }[] = [
    ...[...mesh.workloads(), ...mesh.services()],
    ...[...mesh.peerAuthentications(), ...mesh.authorizationPolicies(), ...mesh.httpRoutes(), ...mesh.limitPolicies()],
  ];
  const refs = values.map(({ from }) => from);
  return refs
    .flatMap((from) => ("kind" in from && from.kind === kind ? [`${from.name}@${from.resourceVersion}`] : []))
    .sort()
    .join(" ");
}
const versionsOf = (objects: KindObjects): string =>
  [...objects]
    .map(([name, { rv }]) => `${name}@${rv}`)
    .sort()
    .join(" ");

/** The mesh of these objects, read at once by an agent that knows nothing else. */
function meshOf(states: ReadonlyMap<string, KindObjects>): MeshStore {
  const changes = watchedKinds.flatMap(({ kind, apiVersion }) =>
    [...(states.get(kind) ?? [])].map(([name, held]): ObjectChange => {
      const namespace = kind === "Namespace" ? "" : "shop";
      const version = { kind, namespace, name, resourceVersion: String(held.rv) };
      return { op: "present", apiVersion, version, uid: held.uid, object: servedOf(kind, name, held) };
    }),
  );
  const mesh = emptyMesh();
  mesh.apply(new AcceptedObjects(settings).apply(changes));
  return mesh;
}

/** Follows what is passed on, and finds the states of the cluster that it is. */
class Checker {
  readonly #cluster: FakeCluster;
  readonly #name: string;
  /** The oldest state that each kind may have next, by its place in the history. */
  readonly #at = new Map<string, number>();
  meshes = 0;

  constructor(cluster: FakeCluster, name: string) {
    this.#cluster = cluster;
    this.#name = name;
  }

  check(mesh: MeshStore): void {
    const states = new Map<string, KindObjects>();
    for (const kind of visible) {
      const history = this.#cluster.statesOf(kind);
      const now = versionsIn(mesh, kind);
      const from = this.#at.get(kind) ?? 0;
      const found = history.findIndex(({ objects }, place) => place >= from && versionsOf(objects) === now);
      assert.ok(found >= 0, `${this.#name}: ${kind} was never so since state ${from}: ${now}`);
      this.#at.set(kind, found);
      states.set(kind, history[found]?.objects ?? new Map());
    }
    // Labels of namespaces are in the mesh only by what they make of pods.
    const wanted = textOf(mesh);
    const namespaces = this.#cluster.statesOf("Namespace");
    const from = this.#at.get("Namespace") ?? 0;
    const found = namespaces.findIndex(
      ({ objects }, place) => place >= from && textOf(meshOf(new Map([...states, ["Namespace", objects]]))) === wanted,
    );
    assert.ok(found >= 0, `${this.#name}: it is the mesh of no state of the cluster:\n${wanted}`);
    this.#at.set("Namespace", found);
    this.meshes += 1;
  }
}

async function follow(t: TestContext, seed: number): Promise<{ readonly meshes: number; readonly away: number }> {
  const name = `seed ${seed}`;
  const dice = new Dice(seed);
  const folder = mkdtempSync(join(tmpdir(), "orlop-history-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const cluster = new FakeCluster(dice, watchedKinds, { names: 5, bodyOf: bodyOf(dice) });
  cluster.strange = dice.roll(25);
  cluster.change("Namespace", "shop", bodyOf(dice)("Namespace", "p0"));
  for (let at = dice.roll(30); at > 0; at--) cluster.happen();
  const checker = new Checker(cluster, name);
  let sleptMs = 0;
  let away = 0;

  const fault = (): void => {
    if (!cluster.faulty) return;
    if (dice.chance(10)) cluster.compacted = cluster.rv - dice.roll(6);
    if (dice.chance(5)) cluster.streams = !cluster.streams;
    for (const kind of cluster.kinds.values()) {
      if (!kind.kind.isCustom) continue;
      if (kind.definition !== "served") kind.definition = dice.chance(10) ? "served" : kind.definition;
      else if (dice.chance(2)) kind.definition = "unknown";
      else if (dice.chance(1)) cluster.delete(kind.kind.kind);
    }
    // Most of what happens is the namespace's label: it is one object, and all pods hang on it.
    if (dice.chance(10)) cluster.change("Namespace", "shop", bodyOf(dice)("Namespace", "p0"));
    for (let news = dice.roll(3); news > 0; news--) cluster.happen();
  };

  /** One life of an agent. Ends by itself when `ends` says so. */
  const live = async (ends: (mesh: MeshStore, sleeps: number) => boolean): Promise<MeshStore> => {
    const mesh = emptyMesh();
    const ending = new AbortController();
    let sleeps = 0;
    const source = new KubernetesSource(
      { server: "https://api", settings, lastGoodFile: join(folder, "cluster.jsonl") },
      {
        ask: cluster.ask,
        wallMs: () => sleptMs,
        nowMs: () => sleptMs,
        random: () => dice.roll(1_000) / 1_000,
        sleep: async (ms, signal) => {
          await new Promise(setImmediate);
          sleptMs += ms;
          sleeps += 1;
          fault();
          if (ends(mesh, sleeps)) ending.abort();
          signal.throwIfAborted();
        },
        log: (message) => {
          if (message.includes("what was read before stays in force")) away += 1;
        },
      },
    );
    await source.run((updates) => {
      mesh.apply(updates);
      checker.check(mesh);
    }, ending.signal);
    return mesh;
  };

  for (let lives = 2 + dice.roll(3); lives > 0; lives--) {
    const most = 20 + dice.roll(200);
    await live((_, sleeps) => sleeps > most);
  }
  cluster.faulty = false;
  for (const kind of cluster.kinds.values()) if (kind.definition === "unknown") kind.definition = "served";
  const last = new Map(watchedKinds.map(({ kind }) => [kind, cluster.statesOf(kind).at(-1)?.objects ?? new Map()]));
  const wanted = textOf(meshOf(last));
  const mesh = await live((now, sleeps) => textOf(now) === wanted || sleeps > 2_000);
  assert.equal(textOf(mesh), wanted, `${name}: at rest`);
  return { meshes: checker.meshes, away };
}

test(`every mesh is that of whole states, none older than the last, across restarts (ORLOP_SEED=${SEED})`, {
  timeout: 120_000,
}, async (t) => {
  let [meshes, away] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    const counted = await follow(t, SEED + round);
    meshes += counted.meshes;
    away += counted.away;
  }
  t.diagnostic(`${meshes} meshes, ${away} times away`);
  assert.ok(meshes > ROUNDS && away > ROUNDS, `${meshes} meshes, ${away} failures: too tame`);
});
