// The hooks with maps that are too small (root, F1): what is lost is counted, and no connection goes anywhere else for it.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { ORLOP_COUNT_EVENT_DROPPED, ORLOP_COUNT_FLOW_MAP_FULL } from "../../agent/abi.ts";
import { HookBench } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

describe("full maps", { concurrency: 1 }, () => {
  const bench = new HookBench({ dst_of_flow: 2, events: 4096 });
  after(() => bench.remove());

  test("what could not be published is counted and is not there: nobody is sent elsewhere", async () => {
    const v4 = await bench.agentListens("127.0.0.1", 15001);
    await bench.enrol();
    for (let i = 0; i < 4; i++) {
      // A dial takes seconds on a busy machine, and the hooks ask no agent whose heartbeat is old.
      bench.beat(0n);
      await bench.inPod(dial(`192.0.2.${50 + i}`, 80));
    }
    assert.equal(bench.count(ORLOP_COUNT_FLOW_MAP_FULL), 2);
    assert.deepEqual([...bench.flows().values()].sort(), ["192.0.2.50 80", "192.0.2.51 80"]);
    assert.equal(v4.sources.filter((source) => bench.flows().has(source)).length, 2);
  });

  test("lost events are counted", async () => {
    await bench.inPod(`
import socket
for _ in range(100):
  try: socket.create_connection(("192.0.2.60", 15001))
  except ConnectionRefusedError: pass`);
    const dropped = bench.count(ORLOP_COUNT_EVENT_DROPPED);
    assert.ok(dropped > 0, String(dropped));
  });
});
