// A full table must refuse, whatever did not fit (docs/reference/failures.md, F1).
import assert from "node:assert/strict";
import { test } from "node:test";
import { orlopGate, orlopInKey, orlopOutKey } from "../abi.ts";
import { peerAuthentication, workload } from "../mesh/mesh.fake.ts";
import { MeshStore } from "../mesh/store.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { FakeMap } from "./maps.fake.ts";
import { InByPort, OutByDst } from "./maps.ts";
import { KernelTables } from "./plaintext-tables.ts";

function tables(maxEntries: number) {
  let written = (): void => undefined;
  class WatchedMap extends FakeMap {
    override put(key: Uint8Array, value: Uint8Array): void {
      super.put(key, value);
      written();
    }
    override delete(key: Uint8Array): boolean {
      const was = super.delete(key);
      written();
      return was;
    }
  }
  /** As the kernel's: closing a descriptor leaves what the map holds. */
  class Kept extends FakeMap {
    override close(): void {}
  }
  const onWrite = (look: () => void): void => {
    written = look;
  };
  const maps = [
    new WatchedMap({ name: "in_by_port", keyBytes: orlopInKey.size, valueBytes: 4, maxEntries }),
    new FakeMap({ name: "out_by_dst", keyBytes: orlopOutKey.size, valueBytes: 4, maxEntries }),
    new Kept({ name: "gate", keyBytes: 4, valueBytes: orlopGate.size }),
    new FakeMap({ name: "node_port", keyBytes: orlopInKey.size, valueBytes: 4 }),
  ] as const;
  const gate = maps[2];
  gate.put(new Uint8Array(4), new Uint8Array(orlopGate.size).fill(1));
  const vouched = (): boolean =>
    (gate.get(new Uint8Array(4)) ?? new Uint8Array()).subarray(orlopGate.meshWritten).some((byte) => byte !== 0);
  class Lent {
    constructor(fd: number) {
      // The map itself, as an instance of the native class is the kernel's map.
      // biome-ignore lint/correctness/noConstructorReturn: the double of a class that is looked up by descriptor.
      return maps[fd] ?? maps[0];
    }
  }
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const errors: string[] = [];
  const quiet = (): void => undefined;
  const judge = judgeOf(mesh);
  let judged = 0;
  const made = new KernelTables({
    mesh,
    judge: (facts) => {
      judged += 1;
      return judge(facts);
    },
    NativeMap: Lent as unknown as new (fd: number) => FakeMap,
    log: { debug: quiet, info: quiet, warn: quiet, error: (message) => void errors.push(message) },
  });
  const lent = {
    dst_of_flow: 9,
    in_by_port: 0,
    out_by_dst: 1,
    gate: 2,
    events: 9,
    counters: 9,
    traffic: 9,
    pair_verdict: 9,
    vip_backends: 9,
    node_port: 3,
  };
  made.opened(lent);
  return {
    made,
    mesh,
    errors,
    onWrite,
    vouched,
    lent,
    judged: () => judged,
    inbound: new InByPort(maps[0]),
    outbound: new OutByDst(maps[1]),
  };
}

const exception = peerAuthentication("PERMISSIVE", { selector: { app: "web" }, portLevel: { 8443: "STRICT" } });

test("a STRICT port that does not fit is not left to the pod's PERMISSIVE default", () => {
  const { made, mesh, errors, inbound } = tables(1);
  const web = workload("web");
  mesh.apply([{ kind: "workload", op: "upsert", value: web }]);
  assert.equal(made.setPod(1, web), false);
  assert.equal(inbound.get(1, 0), "pass");
  mesh.apply([{ kind: "peer-authentication", op: "upsert", value: exception }]);
  assert.equal(made.setPod(1, web), true, "what passed has to be ended");
  assert.equal(inbound.get(1, 8443) ?? inbound.get(1, 0), "refuse");
  assert.equal(errors.length, 1);
});

test("a pod is judged again when it or a policy is another, when it came anew, and when the maps were lent anew", () => {
  const { made, mesh, inbound, judged, lent } = tables(9);
  const web = workload("web", { labels: { app: "web" } });
  const isJudged = (of = web): boolean => {
    const before = judged();
    made.setPod(1, of);
    return judged() > before;
  };
  assert.deepEqual([isJudged(), isJudged()], [true, false]);
  mesh.apply([{ kind: "workload", op: "upsert", value: workload("api", { addresses: ["10.0.0.2"] }) }]);
  assert.equal(isJudged(), false);
  mesh.apply([{ kind: "peer-authentication", op: "upsert", value: exception }]);
  assert.deepEqual([isJudged(), isJudged(), inbound.get(1, 8443)], [true, false, "refuse"]);
  assert.deepEqual([isJudged({ ...web, labels: {} }), inbound.get(1, 8443)], [true, undefined]);
  assert.equal(isJudged(), true);
  made.removePod(1);
  assert.deepEqual([isJudged(), inbound.get(1, 8443)], [true, "refuse"]);
  made.opened(lent);
  assert.equal(isJudged(), true);
});

test("fewer ports for programs of the node are a reason to end what is open, more are none", () => {
  const { made } = tables(4);
  assert.equal(made.setPod(1, workload("web")), false);
  assert.equal(made.setPod(1, workload("web", { probePorts: [8080] })), true, "every port before");
  assert.equal(made.setPod(1, workload("web", { probePorts: [8080, 9090] })), false);
  assert.equal(made.setPod(1, workload("web", { probePorts: [9090] })), true);
  assert.equal(made.setPod(1, workload("web")), false);
});

test("nor is a destination without an agent, and nobody goes direct to the unknown any more", () => {
  const { made, mesh, outbound } = tables(1);
  const web = workload("web");
  made.setDestinations(mesh.apply([{ kind: "workload", op: "upsert", value: web }]));
  assert.equal(made.failDirect(workload("other")), true);
  made.setDestinations(mesh.apply([{ kind: "peer-authentication", op: "upsert", value: exception }]));
  assert.deepEqual(outbound.entries(), [{ address: "10.0.0.1", port: 0, verdict: "refuse" }]);
  assert.equal(made.failDirect(workload("other")), false);
});

test("the kernel may take a miss for outside the mesh once all of the mesh is written, by this agent, and fits", () => {
  const { made, mesh, vouched, lent } = tables(2);
  assert.equal(vouched(), false, "an earlier agent's word is not ours");
  const add = (name: string, address: string) =>
    mesh.apply([{ kind: "workload", op: "upsert", value: workload(name, { addresses: [address] }) }]);
  assert.equal(made.setDestinations(add("web", "10.0.0.1")), null);
  assert.equal(vouched(), true);
  made.gate?.beat(5n);
  assert.equal(vouched(), true, "each beat repeats it");
  made.opened(lent);
  assert.equal(vouched(), true, "lent anew, and written anew");
  assert.deepEqual(made.setDestinations(add("web", "10.0.0.1")), [], "nothing has joined");
  assert.deepEqual(made.setDestinations(add("api", "10.0.0.2")), ["10.0.0.2"]);
  assert.equal(vouched(), true);
  made.setDestinations(add("database", "10.0.0.3"));
  assert.equal(vouched(), false, "one address did not fit");
  made.gate?.beat(6n);
  made.opened(lent);
  made.setDestinations(null);
  assert.equal(vouched(), false, "and it is not forgotten");
});

test("an agent that yielded writes nothing but its heartbeat, until the maps are lent to it again", () => {
  const { made, mesh, inbound, outbound, vouched, lent } = tables(9);
  const web = workload("web");
  made.setDestinations(mesh.apply([{ kind: "workload", op: "upsert", value: web }]));
  made.yield();
  made.gate?.beat(7n);
  assert.deepEqual([vouched(), made.gate?.read().beatNs], [true, 7n], "what the next agent says of the tables stays");
  const other = workload("other", { addresses: ["10.0.0.9"] });
  assert.deepEqual(made.setDestinations(mesh.apply([{ kind: "workload", op: "upsert", value: other }])), []);
  assert.equal(made.setPod(1, web), false);
  made.removePod(1);
  // The doubles of maps are empty once they are closed.
  assert.deepEqual([inbound.ports(1), outbound.entries()], [[], []]);
  made.opened(lent);
  made.setPod(1, web);
  assert.deepEqual([inbound.ports(1), outbound.entries().length], [[0], 2]);
});

test("a pod that leaves: at no moment does its STRICT port meet the PERMISSIVE default", () => {
  const { made, mesh, inbound, onWrite } = tables(9);
  const web = workload("web");
  mesh.apply([
    { kind: "workload", op: "upsert", value: web },
    { kind: "peer-authentication", op: "upsert", value: exception },
  ]);
  made.setPod(1, web);
  assert.deepEqual([inbound.get(1, 0), inbound.get(1, 8443)], ["pass", "refuse"]);
  let writes = 0;
  onWrite(() => {
    writes += 1;
    assert.notEqual(inbound.get(1, 8443) ?? inbound.get(1, 0) ?? "refuse", "pass");
  });
  made.removePod(1);
  assert.equal(writes, 2);
});

test("an address of which a refusal did not fit stays refused, whatever else comes of it", () => {
  const { made, mesh, outbound } = tables(1);
  const web = workload("web");
  made.setDestinations(mesh.apply([{ kind: "workload", op: "upsert", value: web }]));
  made.setDestinations(mesh.apply([{ kind: "peer-authentication", op: "upsert", value: exception }]));
  const strict = peerAuthentication("STRICT", { selector: { app: "web" }, portLevel: { 8443: "STRICT" } });
  for (const value of [strict, exception]) {
    made.setDestinations(mesh.apply([{ kind: "peer-authentication", op: "upsert", value }]));
    assert.deepEqual(outbound.entries(), [{ address: "10.0.0.1", port: 0, verdict: "refuse" }]);
  }
});
