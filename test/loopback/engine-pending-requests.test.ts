// tests · a DestinationRule's http1MaxPendingRequests, with real sockets, engines and data threads: of a caller's identity no more requests of HTTP/1
// wait for a connection to a Service's port than it says, over all threads together; others are answered at once.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import test, { type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { Dice } from "../support/dice.ts";
import { connectionsOf, sharingNode, waiting } from "./sharing-node.ts";
import { until } from "./until.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const policy: TrafficPolicy = {
  ...{ outliers: null, maxRequests: null, hash: null, balance: null, warmUp: null },
  from: nowhere,
};

/** Keeps its answers until `release`, and answers at once from then on. */
async function withholding(t: TestContext) {
  let [isReleased, got, busy, mostBusy] = [false, 0, 0, 0];
  const kept: http.ServerResponse[] = [];
  const answer = (response: http.ServerResponse): void => {
    busy -= 1;
    response.end("ok");
  };
  const server = http.createServer((_, response) => {
    got += 1;
    busy += 1;
    mostBusy = Math.max(mostBusy, busy);
    if (isReleased) answer(response);
    else kept.push(response);
  });
  server.keepAliveTimeout = 60_000;
  await once(server.listen(0, "127.0.1.1"), "listening");
  t.after(() => server.close().closeAllConnections());
  const { address, port } = server.address() as net.AddressInfo;
  const release = (): void => {
    isReleased = true;
    for (const response of kept) answer(response);
  };
  return { endpoints: [{ address, port }], got: () => got, mostBusy: () => mostBusy, release };
}

type Heard = { readonly status: number; readonly overloaded: string | undefined; readonly body: string };

async function asked(port: number, agent: http.Agent, method = "GET"): Promise<Heard> {
  const request = http.request({ host: "127.0.0.1", port, agent, method }).end();
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let body = "";
  for await (const part of response.setEncoding("utf8")) body += part;
  return { status: response.statusCode ?? 0, overloaded: response.headers["x-envoy-overloaded"]?.toString(), body };
}

const served: Heard = { status: 200, overloaded: undefined, body: "ok" };
const refused: Heard = { status: 503, overloaded: "true", body: "too many connections" };

for (const threads of [1, 2, 4])
  test(`${threads} data threads: as many requests as may wait are served later, and others are answered 503 at once`, async (t) => {
    const server = await withholding(t);
    const capped = { ...policy, maxConnections: 2, maxPending: 3 };
    const made = await sharingNode(t, threads, { endpoints: server.endpoints, policy: capped });
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const portOf = (nth: number): number => made.ports[nth % threads] ?? 0;
    const first: Promise<Heard>[] = [];
    for (let nth = 0; nth < 5; nth += 1) {
      first.push(asked(portOf(nth), agent, nth % 2 === 0 ? "GET" : "POST"));
      // Who is to have a connection waits for that until it is open.
      await until(() => server.got() === Math.min(nth + 1, 2) && waiting(made) === Math.max(nth - 1, 0));
    }
    assert.deepEqual([server.got(), waiting(made)], [2, 3]);
    // All at once, on all threads.
    const more = await Promise.all(Array.from({ length: 12 }, (_, nth) => asked(portOf(nth), agent)));
    assert.deepEqual(more, Array(12).fill(refused));
    assert.deepEqual([server.got(), waiting(made), connectionsOf(made).refusals], [2, 3, 12]);
    server.release();
    assert.deepEqual(await Promise.all(first), Array(5).fill(served));
    assert.equal(server.mostBusy(), 2);
    // There is room again.
    await until(() => waiting(made) === 0);
    for (let nth = 0; nth < 4; nth += 1) assert.deepEqual(await asked(portOf(nth), agent), served);
  });

test("a caller that leaves gives up its room; without a number as many wait as come", async (t) => {
  for (const maxPending of [1, undefined]) {
    const server = await withholding(t);
    const capped = { ...policy, maxConnections: 1, ...(maxPending !== undefined && { maxPending }) };
    const made = await sharingNode(t, 2, { endpoints: server.endpoints, policy: capped });
    const [port = 0, other = 0] = made.ports;
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const holds = asked(port, agent);
    await until(() => server.got() === 1);
    const leaves = http.get({ host: "127.0.0.1", port, agent }).on("error", () => undefined);
    await until(() => waiting(made) === 1);
    if (maxPending !== undefined) assert.deepEqual(await asked(other, agent), refused);
    leaves.socket?.resetAndDestroy();
    await until(() => waiting(made) === 0);
    const stay = Array.from({ length: maxPending ?? 20 }, () => asked(other, agent));
    await until(() => waiting(made) === stay.length);
    server.release();
    assert.deepEqual(await Promise.all([holds, ...stay]), Array(1 + stay.length).fill(served));
  }
});

test("a caller that is killed is noticed while it waits, and gives up its room long before its wait is over", async (t) => {
  const server = await withholding(t);
  const pool = { connectMs: 600_000, idleMs: 0, mostRequests: 0 };
  const capped = { ...policy, maxConnections: 1, maxPending: 1, pool };
  const made = await sharingNode(t, 1, { endpoints: server.endpoints, policy: capped });
  const [port = 0] = made.ports;
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const holds = asked(port, agent);
  await until(() => server.got() === 1);
  // Its kernel sends a FIN, as of a caller that has said all and waits for its answer.
  const killed = http.get({ host: "127.0.0.1", port, agent }).on("error", () => undefined);
  await until(() => waiting(made) === 1);
  killed.destroy();
  await until(() => waiting(made) === 0);
  // That caller, which is there, is answered however long it waits.
  const half = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  half.end("GET / HTTP/1.1\r\nhost: api\r\n\r\n");
  await until(() => waiting(made) === 1);
  await sleep(2_500);
  server.release();
  let said = "";
  for await (const part of half.setEncoding("utf8")) said += part;
  assert.match(said, /^HTTP\/1\.1 200 .*ok/s);
  assert.deepEqual(await holds, served);
});

for (const threads of [1, 2])
  test(`${threads} data threads: random callers, some of whom leave: never more wait than may, and in the end nobody (seed ${seed})`, async (t) => {
    const dice = new Dice(seed);
    const server = await withholding(t);
    server.release();
    const capped = { ...policy, maxConnections: 1, maxPending: 2 };
    const made = await sharingNode(t, threads, { endpoints: server.endpoints, policy: capped });
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const counts = new Map<number, number>();
    const caller = async (): Promise<void> => {
      for (let time = 0; time < 30; time += 1) {
        const port = dice.pick(made.ports);
        if (dice.roll(6) > 0) {
          const heard = await asked(port, agent, dice.pick(["GET", "POST"]));
          assert.deepEqual(heard, heard.status === 200 ? served : refused, `seed ${seed}`);
          counts.set(heard.status, (counts.get(heard.status) ?? 0) + 1);
          continue;
        }
        const request = http.get({ host: "127.0.0.1", port, agent }).on("error", () => undefined);
        await once(request, "socket");
        await sleep(dice.roll(3));
        request.destroy();
      }
    };
    await Promise.all(Array.from({ length: 8 }, caller));
    t.diagnostic([...counts].join(" "));
    assert.ok((counts.get(200) ?? 0) > 0 && (counts.get(503) ?? 0) > 0, `seed ${seed}: ${[...counts].join(" ")}`);
    // A thread may hear late of a caller that has left: a caller that comes now is accepted behind it.
    for (const port of made.ports) await asked(port, new http.Agent());
    await until(() => waiting(made) === 0);
    assert.deepEqual(await asked(made.ports[0] ?? 0, agent), served);
  });
