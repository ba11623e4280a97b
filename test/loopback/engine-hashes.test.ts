// tests · consistent hashing with real sockets, engines and data threads: requests of a user go to the same endpoint from each thread; an endpoint that goes
// moves its own users alone, and has them again when it is back.
import assert from "node:assert/strict";
import test from "node:test";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { ConsistentHash, TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { callerOf, numberedEndpoint, numberedEndpoints } from "./numbered-endpoints.ts";
import { sharingNode } from "./sharing-node.ts";

const ENDPOINTS = 5;
const users = Array.from({ length: 60 }, (_, nth) => `user ${nth}`);
const tables: readonly ConsistentHash["table"][] = [
  { kind: "maglev", size: 65_537 },
  { kind: "ring", size: 1_024 },
];

for (const table of tables)
  test(`${table.kind}: a user has the same endpoint from both threads; when it goes its own users move, and they come back`, async (t) => {
    const endpoints = await numberedEndpoints(t, ENDPOINTS);
    const policy: TrafficPolicy = {
      ...{
        outliers: null,
        maxRequests: null,
        balance: null,
        warmUp: null,
        from: nowhere,
      },
      hash: { key: { of: "header", name: "x-user" }, table },
    };
    const at = endpoints.map(({ address, port }) => ({ address, port }));
    const { ports } = await sharingNode(t, 2, { endpoints: at, policy });
    const asks = callerOf(t);
    const asked = async (port: number, user: string): Promise<number> => {
      const { status, nth } = await asks(port, { "x-user": user });
      assert.equal(status, 200, user);
      return nth;
    };
    /** Of each user, over each thread; both have to say the same. */
    const all = async (): Promise<readonly number[]> => {
      const found: number[] = [];
      for (const user of users) {
        const [first, ...others] = await Promise.all(ports.map((port) => asked(port, user)));
        assert.deepEqual(others, [first], user);
        found.push(first ?? assert.fail());
      }
      return found;
    };
    const before = await all();
    assert.deepEqual(await all(), before);
    assert.equal(new Set(before).size, ENDPOINTS, "each endpoint has users");
    const [gone = 0] = before;
    await endpoints[gone]?.close();
    // Nobody has got these requests, so that they go to another.
    const without = await all();
    for (const [nth, had] of before.entries())
      if (had === gone) assert.notEqual(without[nth], gone);
      else assert.equal(without[nth], had, "another endpoint's user has moved");
    assert.ok(new Set(without.filter((_, nth) => before[nth] === gone)).size > 1, "its users go to several");
    await numberedEndpoint(t, gone, endpoints[gone]?.port);
    assert.deepEqual(await all(), before);
  });
