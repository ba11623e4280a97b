// Verdicts about every pair of pods, after each of very many changes of objects: the evaluator that has followed them, and keeps what it has
// compiled, says what an evaluator says that begins with the present objects and knows nothing else. So no change leaves a verdict of an older
// state behind, which might be more open. That the objects in force are those of whole states of the API server is in history.test.ts.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import type { ConnectionFacts } from "../../mesh/facts.ts";
import { MeshStore } from "../../mesh/store.ts";
import type { Workload } from "../../mesh/workload.ts";
import { type Evaluator, evaluatorOf } from "../../policy/evaluate.ts";
import { AcceptedObjects, type ObjectChange } from "../accepted-objects.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const ROUNDS = 30;
const CHANGES = 60;
const NAMES = 4;
const PORTS = [80, 8080];
const settings = {
  ...{ node: "west", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};
const kinds: Readonly<Record<string, string>> = {
  Pod: "v1",
  Namespace: "v1",
  PeerAuthentication: "security.istio.io/v1",
  AuthorizationPolicy: "security.istio.io/v1",
};

function bodyOf(dice: Dice, kind: string, name: string): object {
  const app = (): string => dice.pick(["web", "api"]);
  const some = dice.chance(70) ? { selector: { matchLabels: { app: app() } } } : {};
  if (kind === "Pod") {
    return {
      metadata: { labels: { app: app() } },
      spec: { nodeName: dice.pick(["west", "east"]), serviceAccountName: app() },
      status: { phase: "Running", podIPs: [{ ip: `10.0.0.${dice.chance(95) ? Number(name.slice(1)) + 1 : 1}` }] },
    };
  }
  if (kind === "Namespace")
    return { metadata: { labels: { "orlop.dev/dataplane-mode": dice.chance(80) ? "ambient" : "none" } } };
  if (kind === "PeerAuthentication")
    return { spec: { ...some, mtls: { mode: dice.pick(["STRICT", "PERMISSIVE", "PERMISSIVE", "LOOSE"]) } } };
  const rule = {
    ...(dice.chance(70) && { from: [{ source: { principals: [`cluster.local/ns/shop/sa/${app()}`] } }] }),
    ...(dice.chance(30) && { to: [{ operation: { ports: ["80"] } }] }),
    ...(dice.chance(5) && { newer: true }),
  };
  return { spec: { ...some, action: dice.pick(["ALLOW", "ALLOW", "ALLOW", "DENY"]), rules: [rule] } };
}

const emptyMesh = (): MeshStore => new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });

function connectionsOf(source: Workload, destination: Workload, port: number): readonly ConnectionFacts[] {
  const ends = {
    ...{ sourceAddress: source.addresses[0] ?? "10.9.9.9", sourcePort: 40_000, destinationPort: port },
    ...{ destinationAddress: destination.addresses[0] ?? "10.9.9.8", destination, request: "strict" as const },
  };
  return [
    { ...ends, sourceIdentity: source.identity, security: "mtls" },
    { ...ends, sourceIdentity: null, security: "none" },
  ];
}

/** By caller, security, destination and port: allow or deny. */
function verdictsOf(mesh: MeshStore, evaluator: Evaluator): ReadonlyMap<string, string> {
  const pods = [...mesh.workloads()].toSorted((one, other) => (one.uid < other.uid ? -1 : 1));
  const facts = pods.flatMap((source) =>
    pods.flatMap((destination) =>
      PORTS.flatMap((port) => connectionsOf(source, destination, port).map((one) => ({ one, source }))),
    ),
  );
  return new Map(
    facts.map(({ one, source }) => {
      const how = `${source.name} by ${one.security} to ${one.destination.name}:${one.destinationPort}`;
      return [how, evaluator.judge(one).verdict];
    }),
  );
}

test(`every verdict is that of the present objects, whatever came before them (ORLOP_SEED=${SEED})`, (t) => {
  const counts: Record<string, number> = { allow: 0, deny: 0, changed: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const dice = new Dice(SEED + round);
    const objects = new AcceptedObjects(settings);
    const mesh = emptyMesh();
    const judges = evaluatorOf(mesh);
    const present = new Map<string, ObjectChange>();
    let before = new Map<string, string>() as ReadonlyMap<string, string>;
    for (let step = 0; step < CHANGES; step++) {
      const kind = dice.pick(Object.keys(kinds));
      const [namespace, name] = kind === "Namespace" ? ["", "shop"] : ["shop", `p${dice.roll(NAMES)}`];
      const key = `${kind} ${name}`;
      const version = { kind, namespace, name, resourceVersion: String(step + 1) };
      const change: ObjectChange =
        dice.chance(20) && present.has(key)
          ? { op: "deleted", object: { kind, namespace, name } }
          : { op: "present", apiVersion: kinds[kind] ?? "", version, uid: key, object: bodyOf(dice, kind, name) };
      if (change.op === "deleted") present.delete(key);
      else present.set(key, change);
      mesh.apply(objects.apply([change]));
      const whole = emptyMesh();
      whole.apply(new AcceptedObjects(settings).apply(present.values()));
      const verdicts = verdictsOf(mesh, judges);
      assert.deepEqual(verdicts, verdictsOf(whole, evaluatorOf(whole)), `seed ${SEED + round}, change ${step}: ${key}`);
      for (const [how, verdict] of verdicts) {
        counts[verdict] = (counts[verdict] ?? 0) + 1;
        if ((before.get(how) ?? verdict) !== verdict) counts.changed = (counts.changed ?? 0) + 1;
      }
      before = verdicts;
    }
  }
  t.diagnostic(JSON.stringify(counts));
  assert.ok(
    Object.values(counts).every((count) => count > 300),
    "too tame",
  );
});
