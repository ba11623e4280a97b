import assert from "node:assert/strict";
import { test } from "node:test";
import { workload } from "../mesh/mesh.fake.ts";
import { certificateFacts, plaintextFacts, sameNodeFacts } from "./connection-facts.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const ends = { client: { address: "10.0.0.1", port: 40_000 }, target: { address: "10.0.0.2", port: 8080 } };
const addresses = {
  sourceAddress: "10.0.0.1",
  sourcePort: 40_000,
  destinationAddress: "10.0.0.2",
  destinationPort: 8080,
  destination: api,
  request: "strict",
} as const;

test("what proved the caller decides identity and security, and nothing else does", () => {
  assert.deepEqual(plaintextFacts(ends, api), { ...addresses, sourceIdentity: null, security: "none" });
  assert.deepEqual(certificateFacts(ends, api, web.identity), {
    ...addresses,
    sourceIdentity: web.identity,
    security: "mtls",
  });
  assert.deepEqual(sameNodeFacts(ends, api, web), { ...addresses, sourceIdentity: web.identity, security: "socket" });
});
