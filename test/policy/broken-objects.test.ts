// What of a policy of an API server cannot be read never opens anything: ORLOP_OBJECTS random objects, each broken in one place.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { AcceptedObjects, type ObjectChange } from "../../agent/control/accepted-objects.ts";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { type Judge, judgeOf } from "../../agent/policy/evaluate.ts";
import { Dice } from "../support/dice.ts";
import {
  authorizationPolicyJson,
  broken,
  type Json,
  type JsonObject,
  peerAuthenticationJson,
  TARGET_SERVICE,
} from "./policy-json.ts";
import {
  randomFacts,
  randomPeerAuthentication,
  randomPolicy,
  randomTrustDomain,
  randomWorkloads,
  rootNamespace,
} from "./random-mesh.ts";
import { factsOf, randomRequest } from "./random-request.ts";

const wantedObjects = Number(process.env.ORLOP_OBJECTS ?? 3_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const CONNECTIONS = 16;

const settings = {
  node: "n1",
  cluster: "c",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace,
  honourIstioLabels: false,
  runtimeClasses: [],
};

type World = { readonly trustDomain: string; readonly around: readonly MeshUpdate[]; readonly service: ObjectChange };
type Read = { readonly judge: Judge; readonly problems: number };

function present(kind: string, apiVersion: string, object: JsonObject): ObjectChange {
  const { name, namespace } = object.metadata as { readonly name: string; readonly namespace: string };
  const version = { kind, namespace, name, resourceVersion: "7" };
  return { op: "present", apiVersion, version, uid: "u", object };
}

/** The mesh around with this object in it, read as an object of an API server. */
function read({ trustDomain, around, service }: World, change: ObjectChange): Read {
  const objects = new AcceptedObjects({ ...settings, trustDomain });
  const updates = objects.apply([service, change]);
  const store = new MeshStore({ rootNamespace, trustDomain });
  store.apply([...around, ...updates]);
  return { judge: judgeOf(store), problems: objects.problems.length };
}

function randomWorld(
  dice: Dice,
  namespace: string,
): World & { readonly workloads: ReturnType<typeof randomWorkloads> } {
  const trustDomain = randomTrustDomain(dice);
  const workloads = randomWorkloads(dice, trustDomain).map((one) => ({
    ...one,
    namespace: dice.pick([one.namespace, namespace]),
  }));
  const around: MeshUpdate[] = workloads.map((value) => ({ kind: "workload", op: "upsert", value }));
  for (const name of ["p1", "p3"]) {
    if (dice.chance(60)) {
      around.push({ kind: "authorization-policy", op: "upsert", value: randomPolicy(dice, name, workloads) });
    }
    if (dice.chance(30)) {
      around.push({
        kind: "peer-authentication",
        op: "upsert",
        value: randomPeerAuthentication(dice, name, workloads),
      });
    }
  }
  const spec = { selector: { app: "api" }, ports: [{ port: 80 }] };
  const service = present("Service", "v1", { metadata: { name: TARGET_SERVICE, namespace }, spec });
  return { trustDomain, workloads, around, service };
}

const denies = ({ judge }: Read, facts: ConnectionFacts): boolean => judge(facts).verdict === "deny";

type Tally = { closed: number; pairs: number };

function holdClosed(
  dice: Dice,
  world: ReturnType<typeof randomWorld>,
  whole: { readonly kind: string; readonly apiVersion: string; readonly object: JsonObject },
  tally: Tally,
): void {
  const { kind, apiVersion, object } = whole;
  const wrong = broken(dice, object);
  const [intact, closed, without] = [object, wrong.object, wrong.without].map((one) =>
    read(world, present(kind, apiVersion, one)),
  );
  assert.ok(intact && closed && without);
  const caseText = (facts: ConnectionFacts): string =>
    `seed ${seed}: ${JSON.stringify({ path: wrong.path, object, broken: wrong.object, around: world.around, facts }, null, 1)}`;
  assert.ok(closed.problems > 0, JSON.stringify(wrong));
  const action = (object.spec as { readonly action?: Json }).action;
  const isConstraint = wrong.path[1] === "rules" || wrong.path[1] === "selector";
  for (let index = 0; index < CONNECTIONS; index += 1) {
    const connection = randomFacts(dice, world.workloads);
    // What closes a connection must close its requests, too.
    const facts = dice.chance(40) ? { ...connection, request: factsOf(randomRequest(dice)) } : connection;
    const [before, after] = [denies(intact, facts), denies(closed, facts)];
    if (before && !after) assert.fail(`more open than read whole, ${caseText(facts)}`);
    if (action === "DENY" && isConstraint && denies(without, facts) && !after) {
      assert.fail(`more open than without the broken part, ${caseText(facts)}`);
    }
    tally.pairs += 1;
    if (after && !before) tally.closed += 1;
  }
}

test(`${wantedObjects} broken AuthorizationPolicies never open what they closed (ORLOP_SEED=${seed})`, () => {
  const dice = new Dice(seed);
  const tally: Tally = { closed: 0, pairs: 0 };
  for (let index = 0; index < wantedObjects; index += 1) {
    const near = randomPolicy(dice, "p2", randomWorkloads(dice, "cluster.local"), dice.pick([4, 30]));
    const world = randomWorld(dice, near.namespace);
    const object = authorizationPolicyJson(dice, near);
    holdClosed(dice, world, { kind: "AuthorizationPolicy", apiVersion: "security.istio.io/v1", object }, tally);
  }
  // Objects whose mistakes changed nothing would prove nothing.
  assert.ok(
    tally.closed / tally.pairs > 0.02,
    `${tally.closed} of ${tally.pairs} connections were closed by a mistake`,
  );
});

test(`${wantedObjects} broken PeerAuthentications never let in plaintext that they refused (ORLOP_SEED=${seed})`, () => {
  const dice = new Dice(seed + 1);
  const tally: Tally = { closed: 0, pairs: 0 };
  for (let index = 0; index < wantedObjects; index += 1) {
    const near = randomPeerAuthentication(dice, "p2", randomWorkloads(dice, "cluster.local"));
    const world = randomWorld(dice, near.namespace);
    const object = peerAuthenticationJson(near);
    holdClosed(dice, world, { kind: "PeerAuthentication", apiVersion: "security.istio.io/v1", object }, tally);
  }
  assert.ok(
    tally.closed / tally.pairs > 0.02,
    `${tally.closed} of ${tally.pairs} connections were closed by a mistake`,
  );
});
