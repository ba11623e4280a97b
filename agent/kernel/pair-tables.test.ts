// The kernel's words on pairs, in a map in memory: what is written, in which order, and when connections are to be ended.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { orlopBackends, orlopPairKey, orlopVipKey } from "../abi.ts";
import type { LentMaps } from "../engine/keeper-client.ts";
import { FakeMesh, policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import type { MeshChange } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { FakeMap } from "./maps.fake.ts";
import { PairVerdicts, VipBackends } from "./pair-maps.ts";
import { PairTables } from "./pair-tables.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const pods = [
  { podIdx: 1, workload: web },
  { podIdx: 2, workload: api },
];
const deny = (ports: readonly number[] = []) =>
  policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"], ports)], { selector: { app: "api" } });
const lent: LentMaps = {
  dst_of_flow: 0,
  in_by_port: 0,
  out_by_dst: 0,
  gate: 0,
  events: 0,
  counters: 0,
  traffic: 0,
  node_port: 0,
  pair_verdict: 1,
  vip_backends: 2,
};
const soon = () => new Promise((resolve) => setImmediate(resolve));

let mesh: FakeMesh;
let pairMap: FakeMap;
let vipMap: FakeMap;
let severed: number[];
let keeper: "there" | "gone";
let tables: PairTables;
/** Native maps are views of the same kernel map: closing one leaves the entries. */
class Borrowed extends FakeMap {
  readonly #of: FakeMap;
  constructor(fd: number) {
    const of = fd === 1 ? pairMap : vipMap;
    super(of);
    this.#of = of;
  }
  override get(key: Uint8Array) {
    return this.#of.get(key);
  }
  override put(key: Uint8Array, value: Uint8Array) {
    this.#of.put(key, value);
  }
  override delete(key: Uint8Array) {
    return this.#of.delete(key);
  }
  override dump() {
    return this.#of.dump();
  }
}
const make = (): PairTables =>
  new PairTables({
    mesh,
    judge: judgeOf(mesh),
    NativeMap: Borrowed,
    sever: async (podIdx) => {
      if (keeper === "gone") throw new Error("no keeper");
      severed.push(podIdx);
    },
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
const said = (): Record<string, string> =>
  Object.fromEntries(
    new PairVerdicts(pairMap)
      .entries()
      .map(({ sourceIdx, destinationIdx, port, verdict }) => [`${sourceIdx} ${destinationIdx} ${port}`, verdict]),
  );
function change(act: () => void): void {
  act();
  mesh.policyVersion += 1;
  tables.set(pods);
}

/** The pods came, and the sweeps that follow are over. */
async function sweptAlready(): Promise<void> {
  tables.set(pods);
  await soon();
  severed.length = 0;
}
const nothingChanged: MeshChange = {
  version: 1,
  workloads: new Set(),
  services: new Set(),
  endpointsOf: new Set(),
  authorizationPolicies: new Set(),
  peerAuthentications: new Set(),
  httpRoutes: new Set(),
  routedServices: new Set(),
};

beforeEach(() => {
  mesh = new FakeMesh([web, api], [service("api")]);
  pairMap = new FakeMap({ name: "pair_verdict", keyBytes: orlopPairKey.size, valueBytes: 4 });
  vipMap = new FakeMap({ name: "vip_backends", keyBytes: orlopVipKey.size, valueBytes: orlopBackends.size });
  severed = [];
  keeper = "there";
  tables = make();
  tables.opened(lent);
});

describe("what the kernel is told of pairs", () => {
  test("all pairs and addresses; nothing of pods that left", async () => {
    tables.set(pods);
    assert.deepEqual(said(), { "1 2 0": "join", "2 1 0": "join" });
    assert.deepEqual(new VipBackends(vipMap).keys(), [{ podIdx: 1, vip: "10.96.0.1", port: 80 }]);
    tables.set(pods.slice(0, 1));
    assert.deepEqual([said(), new VipBackends(vipMap).keys()], [{}, []]);
    await soon();
    assert.deepEqual(severed, [1, 2, 1], "each pod that came, and the other end of what left");
  });

  test("the first whole write is followed by a sweep of every pod; so is that of a later agent, and of a later keeper", async () => {
    await sweptAlready();
    const later = make();
    later.opened(lent);
    later.set([]);
    await soon();
    assert.deepEqual(severed, []);
    mesh.policies.push(deny());
    mesh.policyVersion += 1;
    later.set(pods);
    await soon();
    assert.deepEqual(severed, [1, 2]);
    later.opened(lent);
    later.changed({ ...nothingChanged, authorizationPolicies: new Set(["shop/deny"]) }, pods);
    await soon();
    assert.deepEqual(severed, [1, 2, 1, 2]);
    later.setPods(pods);
    await soon();
    assert.deepEqual(severed, [1, 2, 1, 2], "what bears on nobody sweeps nothing");
  });

  test("a denial is written, its address withdrawn, and what stands ended at both ends; once", async () => {
    await sweptAlready();
    change(() => mesh.policies.push(deny()));
    assert.deepEqual(said(), { "1 2 0": "end", "2 1 0": "join" });
    assert.deepEqual(new VipBackends(vipMap).keys(), []);
    change(() => {});
    await soon();
    assert.deepEqual(severed, [1, 2]);
    change(() => mesh.policies.pop());
    assert.deepEqual(said(), { "1 2 0": "join", "2 1 0": "join" });
  });

  test("changes that bear on nobody here sweep nothing", async () => {
    await sweptAlready();
    change(() => {});
    mesh.policies.push({ ...deny(), name: "elsewhere", namespace: "elsewhere" });
    mesh.policyVersion += 1;
    tables.changed({ ...nothingChanged, authorizationPolicies: new Set(["elsewhere/elsewhere"]) }, pods);
    tables.changed({ ...nothingChanged, workloads: new Set(["box//Pod/elsewhere/far"]) }, pods);
    tables.setPods([...pods]);
    await soon();
    assert.deepEqual(severed, []);
  });

  test("of one port only", async () => {
    await sweptAlready();
    change(() => mesh.policies.push(deny([8080])));
    assert.deepEqual(said(), { "1 2 0": "join", "1 2 8080": "end", "2 1 0": "join" });
    assert.deepEqual(new VipBackends(vipMap).keys(), [], "that was the target port");
    await soon();
    assert.deepEqual(severed, [1, 2]);
  });

  test("without a keeper it is due until there is one; a later agent finds it due, too", async () => {
    await sweptAlready();
    keeper = "gone";
    change(() => mesh.policies.push(deny()));
    await soon();
    keeper = "there";
    tables.opened(lent);
    tables.set(pods);
    await soon();
    assert.deepEqual(severed, [1, 2]);
    tables = make();
    tables.opened(lent);
    tables.set(pods);
    await soon();
    assert.deepEqual(severed, [1, 2, 1, 2]);
  });

  test("somebody else by the same pod: what was joined as the former is ended before the latter is joined", async () => {
    await sweptAlready();
    const other = { ...web, identity: spiffeId("cluster.local", "shop", "other") };
    mesh.replace(other);
    tables.set([{ podIdx: 1, workload: other }, ...pods.slice(1)]);
    tables.set([{ podIdx: 1, workload: other }, ...pods.slice(1)]);
    assert.equal(said()["1 2 0"], "end", "until nothing of the former is left, whoever asks meanwhile");
    await soon();
    await soon();
    assert.deepEqual(severed, [1, 2]);
    assert.equal(said()["1 2 0"], "join");
  });

  test("a full map: a port that did not fit closes its pair", async () => {
    pairMap = new FakeMap({ name: "pair_verdict", keyBytes: orlopPairKey.size, valueBytes: 4, maxEntries: 2 });
    tables = make();
    tables.opened(lent);
    await sweptAlready();
    change(() => mesh.policies.push(deny([9090])));
    assert.deepEqual(said(), { "1 2 0": "end", "2 1 0": "join" });
    await soon();
    assert.deepEqual(severed, [1, 2]);
  });
});
