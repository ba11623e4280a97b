import assert from "node:assert/strict";
import { test } from "node:test";
import { MeshStore } from "../mesh/store.ts";
import { evaluatorOf } from "./evaluate.ts";
import { operation, policy, rule, text, workload } from "./policy.fake.ts";
import { portNeeds } from "./port-needs.ts";

test("each port that anybody names is shown, and all others together", () => {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const pod = workload({ ports: { metrics: 9090 } });
  const readers = rule({ operations: [operation({ ports: [8080], methods: [text("GET")] })] });
  const value = policy("readers", { rules: [readers] });
  mesh.apply([
    { kind: "workload", op: "upsert", value: pod },
    { kind: "authorization-policy", op: "upsert", value },
  ]);
  const shown = portNeeds(pod, { mesh, evaluator: evaluatorOf(mesh) });
  assert.deepEqual(
    shown.map(({ port, isRead, reasons }) => [port, isRead, ...reasons.map(({ why }) => why)]),
    [
      [8080, true, "allow-rule"],
      [9090, false, "no-request-rule"],
      [null, false, "no-request-rule"],
    ],
  );
});
