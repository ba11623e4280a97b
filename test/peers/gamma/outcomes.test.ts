import assert from "node:assert/strict";
import { test } from "node:test";
import { outcomesOf } from "./outcomes.ts";

const printed = `=== RUN   TestConformance
    conformance.go:97: Running conformance tests with:
=== RUN   TestConformance/MeshBasic
    conformance.go:70: Running MeshBasic
=== RUN   TestConformance/MeshBasic/0_request
    pod.go:62: Got resp 200
=== RUN   TestConformance/MeshPorts
=== RUN   TestConformance/MeshPorts/No_port_set
=== PAUSE TestConformance/MeshPorts/No_port_set
=== RUN   TestConformance/GatewayInfrastructure
    conformance.go:60: Skipping GatewayInfrastructure: suite does not support Gateway
=== CONT  TestConformance/MeshPorts/No_port_set
    pod.go:66: Response expectation failed
=== NAME  TestConformance
    conformance.go:80: the end
--- FAIL: TestConformance (9.10s)
    --- PASS: TestConformance/MeshBasic (1.00s)
        --- PASS: TestConformance/MeshBasic/0_request (0.50s)
    --- FAIL: TestConformance/MeshPorts (30.00s)
        --- PASS: TestConformance/MeshPorts/No_port_set (1.00s)
        --- FAIL: TestConformance/MeshPorts/No_port_set#01 (29.00s)
    --- SKIP: TestConformance/MeshGRPCRouteWeight (0.00s)
    --- SKIP: TestConformance/GatewayInfrastructure (0.00s)
FAIL
`;

test("tests of meshes, how each ended, with its cases and what the suite says of it", () => {
  assert.deepEqual(outcomesOf(printed), [
    {
      ...{ name: "MeshBasic", outcome: "passed", cases: 1 },
      said: "conformance.go:70: Running MeshBasic\npod.go:62: Got resp 200",
    },
    { name: "MeshPorts", outcome: "failed", cases: 2, said: "pod.go:66: Response expectation failed" },
    { name: "MeshGRPCRouteWeight", outcome: "skipped", cases: 0, said: "" },
  ]);
});

test("a suite that ended before its tests has no outcomes", () => {
  assert.deepEqual(
    outcomesOf("=== RUN   TestConformance\n    suite.go:1: no definitions\n--- FAIL: TestConformance (0.1s)\n"),
    [],
  );
});
