import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import { service, workload } from "../mesh/mesh.fake.ts";
import type { ServiceEndpoint } from "../mesh/snapshot.ts";
import { MeshStore } from "../mesh/store.ts";
import { candidatesIn, candidatesOf } from "./candidates.ts";

const web = workload("web", { ports: { http: 8080 } });
const endpoint = (given: Partial<ServiceEndpoint> = {}): ServiceEndpoint => ({
  ...{ workload: web, addresses: ["10.0.0.1", "fd00::1"], ports: {}, weight: 1, healthy: true },
  ...given,
});
const port = (targetPort: number | string) => ({ name: "web", port: 80, targetPort, appProtocol: "" });
const targets = (given: Partial<ServiceEndpoint>, targetPort: number | string = 9090) =>
  candidatesOf([endpoint(given)], port(targetPort), "10.96.0.1").map(({ address, port: target }) => [address, target]);

test("the target port: the endpoint's own by name or number, then the service's, which may be a name of the workload's", () => {
  assert.deepEqual(targets({ ports: { web: 1, 80: 2 } }), [["10.0.0.1", 1]]);
  assert.deepEqual(targets({ ports: { 80: 2 } }), [["10.0.0.1", 2]]);
  assert.deepEqual(targets({}), [["10.0.0.1", 9090]]);
  assert.deepEqual(targets({}, "http"), [["10.0.0.1", 8080]]);
});

test("an endpoint without that port or without an address is no candidate", () => {
  assert.deepEqual(targets({}, "grpc"), []);
  assert.deepEqual(targets({ workload: null }, "http"), []);
  assert.deepEqual(targets({ addresses: [] }), []);
});

test("the address of the family that was dialled; an endpoint without such an address is no candidate", () => {
  const like = (address: string) => candidatesOf([endpoint()], port(80), address)[0]?.address;
  assert.deepEqual([like("10.96.0.1"), like("fd00::96")], ["10.0.0.1", "fd00::1"]);
  assert.deepEqual(targets({ addresses: ["fd00::7"] }), []);
  assert.deepEqual(targets({ addresses: ["fd00::7", "10.0.0.7"] }), [["10.0.0.7", 9090]]);
});

test("what is kept is what would be found anew, whatever changed, and is the same object while nothing does", (context) => {
  const seed = randomInt(2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const random = seeded(seed);
  const below = (most: number): number => Math.floor(random() * most);
  const stores = [0, 1].map(() => new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" }));
  const changed = (index: number) =>
    workload(`pod-${index}`, {
      addresses:
        [[`10.0.0.${index + 1}`], [`fd00::${index + 1}`], [`10.0.0.${index + 1}`, `fd00::${index + 1}`]][below(3)] ??
        [],
      labels: { app: random() < 0.8 ? "web" : "other" },
      healthy: random() < 0.7,
      weight: below(3),
    });
  // Both meshes have the same value.
  const shared = service("web");
  for (const store of stores) store.apply([{ kind: "service", op: "upsert", value: shared }]);
  let found = 0;
  for (let step = 0; step < 2_000; step += 1) {
    const store = stores[below(2)];
    assert.ok(store);
    if (random() < 0.4) {
      const value = changed(below(5));
      const isGone = random() < 0.2;
      store.apply(
        isGone ? [{ kind: "workload", op: "remove", key: value.uid }] : [{ kind: "workload", op: "upsert", value }],
      );
    }
    if (random() < 0.02)
      store.apply([{ kind: "service", op: "upsert", value: random() < 0.5 ? shared : service("web") }]);
    for (const asked of store.services()) {
      for (const port of asked.ports) {
        const dialled = random() < 0.5 ? "10.96.0.1" : "fd00:96::1";
        const kept = candidatesIn(store, asked, port, dialled);
        const fresh = candidatesOf(store.endpointsOf(asked), port, dialled);
        assert.deepEqual(kept, fresh, `seed ${seed}, step ${step}`);
        assert.equal(candidatesIn(store, asked, port, dialled), kept);
        found += fresh.length;
      }
    }
  }
  assert.ok(found > 500, `seed ${seed}: ${found} candidates`);
});
