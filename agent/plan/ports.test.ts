import assert from "node:assert/strict";
import { test } from "node:test";
import { ORLOP_PORT_HBONE, ORLOP_PORT_INBOUND, ORLOP_PORT_OUTBOUND } from "../abi.ts";
import { HBONE_PORT, INBOUND_PORT, isOwnPort, OUTBOUND_PORT } from "./ports.ts";

test("the ports are the kernel's", () => {
  assert.deepEqual(
    [OUTBOUND_PORT, INBOUND_PORT, HBONE_PORT],
    [ORLOP_PORT_OUTBOUND, ORLOP_PORT_INBOUND, ORLOP_PORT_HBONE],
  );
  assert.deepEqual([15_000, 15_001, 15_006, 15_008, 15_009].filter(isOwnPort), [15_001, 15_006, 15_008]);
});
