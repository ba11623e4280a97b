import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServiceEndpoint } from "../mesh/snapshot.ts";
import { workload } from "../traffic/mesh.fake.ts";
import { candidatesOf } from "./candidates.ts";

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
