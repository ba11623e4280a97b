import assert from "node:assert/strict";
import { test } from "node:test";
import { aWorkload } from "./record.fake.ts";
import { connectionRecord } from "./record.ts";

test("of a connection of which only the ends are known, nobody proved anything and nothing was decided", () => {
  const ends = { source: { address: "10.0.0.1", port: 40_000 }, destination: { address: "10.0.0.2", port: 80 } };
  assert.deepEqual(connectionRecord({ reporter: "source", podIdx: 3, ...ends }), {
    reporter: "source",
    direction: "outbound",
    podIdx: 3,
    source: { ...ends.source, workload: null, identity: null },
    destination: { ...ends.destination, workload: null, identity: null },
    hbone: null,
    dialled: null,
    service: null,
    security: "none",
    decision: null,
    unjudged: null,
    traceId: "",
  });
});

test("the reporting end is the direction", () => {
  const web = aWorkload();
  const record = connectionRecord({
    reporter: "destination",
    podIdx: 3,
    source: { address: "10.0.0.1", port: 1 },
    destination: { address: "10.0.0.2", port: 80, workload: web, identity: web.identity },
    security: "mtls",
  });
  assert.equal(record.direction, "inbound");
  assert.equal(record.destination.identity, web.identity);
});
