// A draft of the mesh file that is taken over at once opens nothing: ORLOP_DRAFTS random edits of random meshes, cut at random bytes as
// by a writer in place that pauses there, judged by the oracle before and after.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { stringify } from "yaml";
import { Assembly } from "../../agent/control/kinds/assembly.ts";
import { ConfigError } from "../../agent/control/kinds/value.ts";
import { type MeshFile, objectsBetween, readingFile } from "../../agent/control/static-file/mesh-file.ts";
import { weakenings } from "../../agent/control/weakens.ts";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import type { MeshUpdate } from "../../agent/mesh/mesh-update.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { Lean } from "../../agent/mesh/thread-view.ts";
import type { Workload } from "../../agent/mesh/workload.ts";
import { Dice } from "../support/dice.ts";
import { ask, type OracleMesh } from "./oracle.ts";
import { authorizationPolicyJson, type JsonObject, peerAuthenticationJson } from "./policy-json.ts";
import { randomFacts, randomPeerAuthentication, randomPolicy, randomWorkloads, rootNamespace } from "./random-mesh.ts";

const wantedDrafts = Number(process.env.ORLOP_DRAFTS ?? 2_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const CONNECTIONS = 40;
/** Texts cut out of one edit. */
const CUTS = 6;
const trustDomain = "cluster.local";

const settings = {
  node: "here",
  cluster: "c",
  network: "",
  trustDomain,
  clusterDomain: "cluster.local",
  rootNamespace,
  honourIstioLabels: false,
  runtimeClasses: [],
};

function read(text: string, before?: MeshFile): MeshFile {
  const reading = readingFile({ file: "mesh.yaml", text, stamp: "", bytes: text.length }, before, {
    settings,
    lean: new Lean(),
  });
  for (;;) {
    const step = reading.next();
    if (step.done) return step.value;
  }
}

const textOf = (documents: readonly JsonObject[]): string => documents.map((one) => stringify(one)).join("---\n");

function workloadJson({ name, namespace, labels, addresses, identity, node }: Workload): JsonObject {
  return {
    apiVersion: "orlop.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace, labels: { ...labels, "orlop.dev/dataplane-mode": "ambient" } },
    spec: { addresses, node, serviceAccount: identity.serviceAccount },
  };
}

function policyJson(dice: Dice, name: string, near: readonly Workload[]): JsonObject {
  const json = authorizationPolicyJson(dice, randomPolicy(dice, name, near));
  return { apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy", ...json };
}

function peersJson(dice: Dice, name: string, near: readonly Workload[]): JsonObject {
  const peers = randomPeerAuthentication(dice, name, near);
  // Modes of ports are read with a selector only.
  const json = peerAuthenticationJson(peers.selector === null ? { ...peers, portLevel: {} } : peers);
  return { apiVersion: "security.istio.io/v1", kind: "PeerAuthentication", ...json };
}

/** Of this name, again until a file may hold it: a random object often has something that a file is refused for. */
function readable(make: () => JsonObject): JsonObject {
  for (;;) {
    const made = make();
    if (read(textOf([made])).problems.length === 0) return made;
  }
}

type Edit = { readonly before: readonly JsonObject[]; readonly after: readonly JsonObject[] };

function randomEdit(dice: Dice): Edit {
  const workloads = randomWorkloads(dice, trustDomain);
  const policies = ["p1", "p2", "p3"].filter(() => dice.chance(50));
  const peers = ["m1", "m2"].filter(() => dice.chance(60));
  const policy = (name: string): JsonObject => readable(() => policyJson(dice, name, workloads));
  const modes = (name: string): JsonObject => readable(() => peersJson(dice, name, workloads));
  const before = shuffled(dice, [...workloads.map(workloadJson), ...policies.map(policy), ...peers.map(modes)]);
  const likeness = (document: JsonObject): JsonObject => {
    const { name = "" } = document.metadata as { readonly name?: string };
    if (document.kind === "Workload") return workloadJson({ ...dice.pick(randomWorkloads(dice, trustDomain)), name });
    return document.kind === "PeerAuthentication" ? modes(name) : policy(name);
  };
  const changed = dice.roll(before.length * 2);
  const after = before.flatMap((document, nth): readonly JsonObject[] => {
    if (nth !== changed && !dice.chance(4)) return [document];
    return dice.chance(10) ? [] : [mixed(dice, document, likeness(document))];
  });
  const added = [
    ...dice.some(25, 2, () => policy(`q${dice.roll(9)}`)),
    ...dice.some(20, 1, () => modes(dice.pick(["a1", "z1"]))),
    ...dice.some(10, 1, () => workloadJson({ ...randomWorkload(dice), name: "w7" })),
  ];
  return { before, after: dice.chance(50) ? [...after, ...added] : [...added, ...after] };
}

function randomWorkload(dice: Dice): Workload {
  const [workload] = randomWorkloads(dice, trustDomain);
  if (workload === undefined) throw new Error("no workload was made");
  return { ...workload, addresses: ["10.9.9.9"] };
}

/** The same object, with one field of it, or its rules in part, as another has it. */
function mixed(dice: Dice, document: JsonObject, other: JsonObject): JsonObject {
  const [was, now] = [document, other].map(({ metadata, spec }) => ({
    metadata: metadata as JsonObject,
    spec: spec as JsonObject,
  }));
  if (was === undefined || now === undefined) return document;
  if (document.kind === "AuthorizationPolicy" && dice.chance(35)) {
    const [rules, more] = [was, now].map(({ spec }) => (spec.rules ?? []) as readonly JsonObject[]);
    const kept = (rules ?? []).filter(() => dice.chance(75));
    return { ...document, spec: { ...was.spec, rules: [...kept, ...(dice.chance(40) ? (more ?? []) : [])] } };
  }
  if (dice.chance(15)) {
    const { annotations = {}, labels = {} } = now.metadata;
    const name = document.kind === "Workload" ? { labels } : { annotations };
    return { ...document, metadata: { ...was.metadata, ...name } };
  }
  const field = dice.pick([...new Set([...Object.keys(was.spec), ...Object.keys(now.spec)])]);
  const { [field]: _, ...spec } = was.spec;
  const value = now.spec[field];
  return { ...document, spec: value === undefined ? spec : { ...spec, [field]: value } };
}

function shuffled<T>(dice: Dice, items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, at: dice.roll(1_000) }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** All of it, its first bytes, or its first documents. */
function cutOf(dice: Dice, text: string): string {
  if (dice.chance(20)) return text;
  if (dice.chance(60)) return text.slice(0, dice.roll(text.length + 1));
  const ends = [...text.matchAll(/^---\n/gm)].map(({ index }) => index);
  return ends.length === 0 ? text : text.slice(0, dice.pick(ends));
}

function oracleMesh(store: MeshStore): OracleMesh {
  return {
    authorizationPolicies: [...store.authorizationPolicies()],
    peerAuthentications: [...store.peerAuthentications()],
    rootNamespace,
    trustDomain,
  };
}

type Tally = { drafts: number; atOnce: number; changing: number; held: number; opening: number; refused: number };

function oneEdit(dice: Dice, tally: Tally): void {
  const { before, after } = randomEdit(dice);
  const inForce = read(textOf(before));
  const first = new Assembly(settings);
  try {
    first.swap(objectsBetween(undefined, inForce));
  } catch (error) {
    if (error instanceof ConfigError) return; // Two workloads have one address.
    throw error;
  }
  for (let cut = 0; cut < CUTS; cut += 1) oneDraft(dice, { inForce, text: cutOf(dice, textOf(after)), tally });
}

function oneDraft(
  dice: Dice,
  { inForce, text, tally }: { readonly inForce: MeshFile; readonly text: string; readonly tally: Tally },
): void {
  const draft = read(text, inForce);
  if (draft.problems.length > 0 || draft.documents.lines.length === 0) return; // Such a file changes nothing.
  const assembly = new Assembly(settings);
  const store = new MeshStore({ rootNamespace, trustDomain });
  store.apply(assembly.swap(objectsBetween(undefined, inForce)));
  const workloads = [...store.workloads()];
  const facts = Array.from({ length: CONNECTIONS }, () => randomFacts(dice, workloads));
  const refused = facts.filter((one) => ask(one, oracleMesh(store)).verdict === "deny");
  const swap = objectsBetween(inForce, draft);
  let found: ReturnType<typeof weakenings>;
  let updates: readonly MeshUpdate[];
  try {
    const policies = { rootNamespace, authorizationPolicies: () => assembly.authorizationPolicies() };
    found = weakenings(policies, assembly.preview(swap));
    updates = assembly.swap(swap);
  } catch (error) {
    if (error instanceof ConfigError) return;
    throw error;
  }
  store.apply(updates);
  const opened = refused.filter((one) => ask(asNow(store, one), oracleMesh(store)).verdict === "allow");
  tally.drafts += 1;
  tally.refused += refused.length;
  if (found.length > 0) {
    tally.held += 1;
    if (opened.length > 0) tally.opening += 1;
    return;
  }
  tally.atOnce += 1;
  if (updates.length > 0) tally.changing += 1;
  const [example] = opened;
  assert.ok(
    example === undefined,
    `seed ${seed}: taken at once, and it allows ${JSON.stringify(example, null, 1)}\nbefore:\n${JSON.stringify(inForce.documents, null, 1)}\ndraft:\n${text}`,
  );
}

/** The same connection, whose destination is as the mesh has it by now. */
function asNow(store: MeshStore, facts: ConnectionFacts): ConnectionFacts {
  return { ...facts, destination: store.workload(facts.destination.uid) ?? facts.destination };
}

test(`${wantedDrafts} drafts: what is taken at once opens nothing (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const tally: Tally = { drafts: 0, atOnce: 0, changing: 0, held: 0, opening: 0, refused: 0 };
  while (tally.drafts < wantedDrafts) oneEdit(dice, tally);
  t.diagnostic(JSON.stringify(tally));
  // A judgement that holds everything, or drafts that never open anything, would prove nothing.
  assert.ok(tally.changing > tally.drafts * 0.02, `${tally.changing} changing drafts were taken at once`);
  assert.ok(tally.opening > tally.drafts * 0.05, `${tally.opening} drafts that were held open something`);
  assert.ok(tally.refused > tally.drafts, `${tally.refused} refused connections`);
});
