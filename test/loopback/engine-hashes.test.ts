// tests · consistent hashing with real sockets, engines and data threads: requests of a user go to the same endpoint from each thread; an endpoint that goes
// moves its own users alone, and has them again when it is back.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import test, { type TestContext } from "node:test";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { ConsistentHash, TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { sharingNode } from "./sharing-node.ts";

const ENDPOINTS = 5;
const users = Array.from({ length: 60 }, (_, nth) => `user ${nth}`);
const tables: readonly ConsistentHash["table"][] = [
  { kind: "maglev", size: 65_537 },
  { kind: "ring", size: 1_024 },
];

/** Says its own number. */
async function endpoint(t: TestContext, nth: number, port = 0) {
  const server = http.createServer((_, response) => response.end(String(nth)));
  server.keepAliveTimeout = 60_000;
  const address = `127.0.1.${nth + 1}`;
  await once(server.listen(port, address), "listening");
  const close = async (): Promise<void> => {
    const closed = once(server, "close");
    server.close().closeAllConnections();
    await closed;
  };
  t.after(() => server.listening && close());
  return { address, port: (server.address() as net.AddressInfo).port, close };
}

for (const table of tables)
  test(`${table.kind}: a user has the same endpoint from both threads; when it goes its own users move, and they come back`, async (t) => {
    const endpoints = await Promise.all(Array.from({ length: ENDPOINTS }, (_, nth) => endpoint(t, nth)));
    const policy: TrafficPolicy = {
      ...{ outliers: null, maxRequests: null, balance: null, warmUp: null, from: nowhere },
      hash: { key: { of: "header", name: "x-user" }, table },
    };
    const at = endpoints.map(({ address, port }) => ({ address, port }));
    const { ports } = await sharingNode(t, 2, { endpoints: at, policy });
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const asked = async (port: number, user: string): Promise<number> => {
      const request = http.get({ host: "127.0.0.1", port, agent, headers: { "x-user": user } });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      assert.equal(response.statusCode, 200, user);
      let body = "";
      for await (const part of response.setEncoding("utf8")) body += part;
      return Number(body);
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
    await endpoint(t, gone, endpoints[gone]?.port);
    assert.deepEqual(await all(), before);
  });
