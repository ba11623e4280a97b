// tests · http1MaxPendingRequests, with real sockets, engines and data threads: a request waits, as with Envoy, also while the connection opens that it
// is to have (envoy:source/common/conn_pool/conn_pool_base.cc, where a request without a ready connection is pending before any is opened for it).
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import test from "node:test";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { Dice } from "../support/dice.ts";
import { neverAccepts } from "./never-accepts.ts";
import { connectionsOf, sharingNode, waiting } from "./sharing-node.ts";
import { until } from "./until.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const MOST = 3;
const policy: TrafficPolicy = {
  ...{ outliers: null, maxRequests: null, hash: null, balance: null, warmUp: null, from: nowhere },
  ...{ maxPending: MOST, pool: { connectMs: 600_000, idleMs: 0, mostRequests: 0 } },
};

function ask(port: number, agent: http.Agent) {
  const request = http.get({ host: "127.0.0.1", port, agent }).on("error", () => undefined);
  const status = once(request, "response").then(
    ([response]: http.IncomingMessage[]) => {
      response?.resume();
      const { statusCode = 0, headers } = response ?? assert.fail();
      return headers["x-envoy-overloaded"] === "true" ? "overloaded" : statusCode;
    },
    () => "left",
  );
  return { status, leave: () => request.socket?.resetAndDestroy() };
}

for (const maxConnections of [undefined, 2])
  for (const threads of [1, 2])
    test(`${threads} data threads, ${maxConnections ?? "any number of"} connections: who dials waits, and leaves; others are refused (seed ${seed})`, async (t) => {
      const dice = new Dice(seed);
      const endpoint = await neverAccepts(t, "127.0.1.1");
      const made = await sharingNode(t, threads, {
        ...{ endpoints: [endpoint.at], policy: { ...policy, ...(maxConnections !== undefined && { maxConnections }) } },
      });
      const agent = new http.Agent({ keepAlive: true });
      t.after(() => agent.destroy());
      const there: ReturnType<typeof ask>[] = [];
      let refusals = 0;
      const comes = async (): Promise<void> => {
        const asked = ask(dice.pick(made.ports), agent);
        if (there.length < MOST) there.push(asked);
        else assert.equal(await asked.status, "overloaded", `seed ${seed}`);
        if (there.at(-1) !== asked) refusals += 1;
      };
      const leaves = async (): Promise<void> => {
        const [gone] = there.splice(dice.roll(there.length), 1);
        gone?.leave();
        assert.equal(await gone?.status, "left");
      };
      for (let step = 0; step < 60; step += 1) {
        if (there.length > 0 && dice.chance(35)) await leaves();
        else await comes();
        await until(() => waiting(made) === there.length, `${there.length} to wait at step ${step}, seed ${seed}`);
        assert.equal(connectionsOf(made).refusals, refusals, `step ${step}, seed ${seed}`);
      }
      while (there.length < MOST) await comes();
      assert.ok(refusals > 0, `seed ${seed}`);
      endpoint.goOn();
      for (const { status } of there) assert.equal(await status, 200, `seed ${seed}`);
      await until(() => waiting(made) === 0);
      // A request that finds an idle connection waits for nothing.
      for (let time = 0; time < 10; time += 1) assert.equal(await ask(dice.pick(made.ports), agent).status, 200);
      await until(() => waiting(made) === 0);
    });

test("a dial that fails gives up its room", async (t) => {
  const endpoint = await neverAccepts(t, "127.0.1.1");
  const pool = { connectMs: 50, idleMs: 0, mostRequests: 0 };
  const made = await sharingNode(t, 1, { endpoints: [endpoint.at], policy: { ...policy, maxPending: 1, pool } });
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  for (let time = 0; time < 5; time += 1) {
    assert.equal(await ask(made.ports[0] ?? 0, agent).status, 503);
    await until(() => waiting(made) === 0);
  }
  assert.equal(connectionsOf(made).refusals, 0);
});
