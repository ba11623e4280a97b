// A mesh that thousands of changes of its files have made, step by step, is the mesh that those files make at once: from the text to every
// answer of the store.
import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Dice } from "../../../test/support/dice.ts";
import { MeshStore } from "../../mesh/store.ts";
import { ConfigError } from "../kinds/value.ts";
import { MeshFiles } from "./mesh-files.ts";
import { readTexts, translateTexts } from "./read.ts";
import { folderOf, settings } from "./source.fake.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 32));
const STEPS = Number(process.env.ORLOP_RUNS ?? 1_000);

const FILES = 3;
const namespaces = ["shop", "bank", "istio-system"];
const names = ["a", "b", "c", "d"];
const apps = ["x", "y", "z"];
/** Each workload and each Service has an address of its own, unless the dice want a conflict. */
const octets = namespaces.length * names.length;
const storeOptions = { rootNamespace: settings.rootNamespace, trustDomain: settings.trustDomain };
const address = (octet: number): string => `10.0.0.${octet}`;
const vip = (octet: number): string => `10.96.0.${octet}`;

function randomDocument(dice: Dice): string {
  const [name, namespace, app] = [dice.pick(names), dice.pick(namespaces), dice.pick(apps)];
  const named = `metadata: {name: ${name}, namespace: ${namespace}}`;
  const own = namespaces.indexOf(namespace) * names.length + names.indexOf(name);
  const octet = dice.chance(93) ? own : dice.roll(octets);
  const selector = dice.chance(70) ? `selector: {matchLabels: {app: ${app}}}` : "";
  switch (
    dice.pick([
      "workload",
      "workload",
      "workload",
      "service",
      "service",
      "slice",
      "slice",
      "policy",
      "mode",
      "namespace",
    ])
  ) {
    case "workload":
      return `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: ${namespace}, uid: u-${name}, labels: {app: ${app}}}
spec: {addresses: [${address(octet)}], node: ${dice.pick(["west", "east"])}, healthy: ${dice.chance(80)}}
`;
    case "service":
      return `apiVersion: v1
kind: Service
${named}
spec: {clusterIP: ${vip(octet)}, ${dice.chance(40) ? `selector: {app: ${app}}, ` : ""}ports: [{port: 80}]}
`;
    case "slice":
      return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}-${dice.roll(3)}, namespace: ${namespace}, labels: {kubernetes.io/service-name: ${name}}}
addressType: IPv4
endpoints: [{addresses: [${address(dice.roll(octets))}]}]
`;
    case "policy":
      return `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
${named}
spec:
  action: ${dice.pick(["ALLOW", "DENY"])}
  ${dice.chance(30) ? `targetRefs: [{kind: Service, name: ${dice.pick(names)}}]` : selector}
  rules: [{from: [{source: {namespaces: [${dice.pick(namespaces)}]}}]}]
`;
    case "mode":
      return `apiVersion: security.istio.io/v1
kind: PeerAuthentication
${named}
spec: {${selector === "" ? "" : `${selector}, `}mtls: {mode: ${dice.pick(["STRICT", "PERMISSIVE"])}}}
`;
    default:
      return `apiVersion: v1
kind: Namespace
metadata: {name: ${namespace}, labels: {orlop.dev/dataplane-mode: ${dice.pick(["ambient", "none"])}}}
`;
  }
}

/** A document comes, goes, moves or is another; at times the file goes, or gets what nobody can read. null: there is no such file. */
function edited(dice: Dice, text: string | null): string | null {
  if (dice.chance(4)) return null;
  if (dice.chance(3)) return `${text ?? ""}---\nkind: Nothing\n`;
  const documents = text === null ? [] : text.split("---\n");
  if (documents.length > 8) documents.splice(dice.roll(6), 3);
  const at = dice.roll(documents.length + 1);
  const moved = documents.splice(dice.roll(documents.length), dice.roll(2));
  const come = dice.chance(15) ? moved : dice.some(80, 2, () => randomDocument(dice));
  const isAnew = (document: string): boolean =>
    dice.chance(95) && come.some((other) => other !== document && nameIn(other) === nameIn(document));
  const left = [...documents.slice(0, at), ...come, ...documents.slice(at)].filter((document) => !isAnew(document));
  return left.length === 0 ? null : left.join("---\n");
}

/** Kind, name and, where the document has it, namespace. */
const nameIn = (document: string): string | undefined =>
  /^kind: .*\nmetadata: \{name: [^,]*(, namespace: [^,}]*)?/m.exec(document)?.[0];

/** Every answer of the store that depends on an index, in an order that does not depend on how the store came to be. */
function answers(store: MeshStore): object {
  const sorted = (list: Iterable<unknown>): string[] => [...list].map((one) => JSON.stringify(one)).sort();
  const ofWorkloads = [...store.workloads()].map((one) => [
    one,
    sorted(store.servicesOf(one)),
    store.authorizationPoliciesFor(one),
    store.peerAuthenticationsFor(one),
  ]);
  const at = Array.from({ length: octets }, (_, octet) => [
    store.workloadAt(address(octet)) ?? null,
    sorted(store.rivalsAt(address(octet))),
    ...namespaces.map((namespace) => store.serviceAt(vip(octet), namespace) ?? null),
  ]);
  return {
    workloads: sorted(ofWorkloads),
    services: sorted([...store.services()].map((one) => [one, sorted(store.endpointsOf(one))])),
    policies: sorted(store.authorizationPolicies()),
    modes: sorted(store.peerAuthentications()),
    nodes: ["west", "east"].map((node) => sorted(store.workloadsOnNode(node))),
    named: namespaces.map((namespace) => sorted(store.workloadsIn(namespace))),
    at,
  };
}

class Folder {
  readonly path: string;
  readonly #texts = new Map<string, string>();
  readonly #changed = new Set<string>();

  constructor(t: TestContext) {
    this.path = join(folderOf(t), "mesh.d");
    mkdirSync(this.path);
  }

  text(name: string): string | null {
    return this.#texts.get(name) ?? null;
  }

  write(name: string, text: string | null): void {
    this.#changed.add(name);
    if (text === null) {
      this.#texts.delete(name);
      rmSync(join(this.path, name), { force: true });
    } else {
      this.#texts.set(name, text);
      writeFileSync(join(this.path, name), text);
    }
  }

  /** What a watch would have heard since the last call: each file was put into place whole. */
  hints() {
    const names = new Set(this.#changed);
    this.#changed.clear();
    return { all: false, names, whole: names, arrived: new Set<string>(), swapped: false };
  }

  /** The store that all files make at once; undefined: they are refused. */
  atOnce(): MeshStore | undefined {
    try {
      const store = new MeshStore(storeOptions);
      store.apply(translateTexts(readTexts(this.path), settings).updates);
      return store;
    } catch (error) {
      if (error instanceof ConfigError) return undefined;
      throw error;
    }
  }
}

test(`after ${STEPS} changes of its files, one by one, a mesh is what they make at once (seed ${seed})`, {
  timeout: 600_000,
}, async (t) => {
  const dice = new Dice(seed);
  const folder = new Folder(t);
  const signal = new AbortController().signal;
  const files = new MeshFiles({ path: folder.path, settings, quietMs: 0, stillMs: 0, wallMs: Date.now });
  const store = new MeshStore(storeOptions);
  const accepted = (): boolean => {
    try {
      const taking = files.accept();
      assert.ok(taking.taken, "nothing is held back that was put into place whole");
      store.apply(taking.updates);
      return true;
    } catch (error) {
      if (error instanceof ConfigError) return false;
      throw error;
    }
  };
  folder.write("base.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: base}\n");
  await files.look(folder.hints(), signal);
  assert.ok(accepted());
  const counts = { accepted: 0, refused: 0 };
  for (let step = 0; step < STEPS; step++) {
    const changes = Array.from({ length: 1 + dice.roll(3) }, () => `${dice.roll(FILES)}.yaml`);
    const before = new Map(changes.map((name) => [name, folder.text(name)]));
    for (const name of changes) folder.write(name, edited(dice, folder.text(name)));
    await files.look(folder.hints(), signal);
    const expected = folder.atOnce();
    const what = `step ${step} of seed ${seed}`;
    assert.equal(accepted(), expected !== undefined, what);
    if (expected === undefined) {
      counts.refused += 1;
      // What is in force is what it was; the operator takes the mistake back.
      for (const [name, text] of before) folder.write(name, text);
      await files.look(folder.hints(), signal);
      assert.ok(files.settled, what);
    } else counts.accepted += 1;
    const whole = folder.atOnce();
    assert.ok(whole !== undefined, what);
    // Reading also builds what a store builds when it is asked, so that the next change has to keep it right.
    assert.deepEqual(answers(store), answers(whole), what);
    // The copy on disk has the texts: of a file that changes next there is nothing to compare it with.
    if (dice.chance(20)) files.kept(files.digests());
  }
  t.diagnostic(
    `${counts.accepted} changes counted, ${counts.refused} were refused, ${files.objects} objects at the end`,
  );
  assert.ok(counts.accepted > STEPS / 4 && counts.refused > STEPS / 20, JSON.stringify(counts));
});
