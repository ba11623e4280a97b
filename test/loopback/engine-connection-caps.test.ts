// tests · a DestinationRule's maxConnections, with real sockets, engines and data threads: of a caller's identity no more connections are open to a
// Service's port than it says, over all threads together, whether they are read or not.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import test, { type TestContext } from "node:test";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { UnderWayCells } from "../../agent/traffic/under-way-cells.ts";
import { type SharingNode, sharingNode } from "./sharing-node.ts";

const policy: TrafficPolicy = {
  ...{ outliers: null, maxRequests: null, hash: null, balance: null, warmUp: null },
  from: nowhere,
};

const refusals = ({ shared, ports }: SharingNode): number =>
  new UnderWayCells(shared.connections, ports.length, "awaited").refusals;

/** Says a byte to each connection. */
async function greeter(t: TestContext) {
  const open = new Set<net.Socket>();
  let most = 0;
  const server = net.createServer((socket) => {
    open.add(socket);
    most = Math.max(most, open.size);
    socket.on("error", () => undefined).on("close", () => open.delete(socket));
    socket.write("!");
  });
  await once(server.listen(0, "127.0.1.1"), "listening");
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const { address, port } = server.address() as net.AddressInfo;
  return { endpoints: [{ address, port }], open, most: () => most };
}

/** null: the agent has refused it. */
async function called(port: number): Promise<net.Socket | null> {
  const socket = net.connect({ port, host: "127.0.0.1" });
  const greeted = await new Promise<boolean>((resolve) => {
    socket
      .on("error", () => resolve(false))
      .on("close", () => resolve(false))
      .once("data", () => resolve(true));
  });
  if (greeted) return socket;
  socket.destroy();
  return null;
}

for (const threads of [1, 2, 4])
  test(`${threads} data threads: of connections that nobody reads never more are open than the cap; one that ends makes room`, async (t) => {
    const { endpoints, open, most } = await greeter(t);
    const made = await sharingNode(t, threads, { endpoints, policy: { ...policy, maxConnections: 5 }, isOpaque: true });
    const portOf = (nth: number): number => made.ports[nth % threads] ?? 0;
    const first: net.Socket[] = [];
    for (let nth = 0; nth < 5; nth += 1) first.push((await called(portOf(nth))) ?? assert.fail(`none of ${nth}`));
    assert.equal(open.size, 5);
    // All at once, on all threads: none has room.
    const more = await Promise.all(Array.from({ length: 12 }, (_, nth) => called(portOf(nth))));
    assert.deepEqual([more.filter((each) => each !== null).length, most(), refusals(made)], [0, 5, 12]);
    for (const [nth, socket] of first.entries()) {
      const [oldest] = open;
      socket.end();
      if (oldest !== undefined) await once(oldest, "close");
      let next: net.Socket | null = null;
      // The agent hears of the end when the server has.
      while (next === null) next = await called(portOf(nth + 1));
      t.after(() => next?.destroy());
      assert.ok(open.size <= 5 && most() === 5, `${open.size} open, ${most()} at most`);
    }
  });

test("of a Service without a cap as many are open as come", async (t) => {
  const { endpoints, open } = await greeter(t);
  const made = await sharingNode(t, 1, { endpoints, policy, isOpaque: true });
  const all = await Promise.all(Array.from({ length: 20 }, () => called(made.ports[0] ?? 0)));
  t.after(() => all.map((each) => each?.destroy()));
  assert.deepEqual([open.size, refusals(made)], [20, 0]);
});

/** Answers behind some milliseconds; says how many requests it has at once, and how many connections. */
async function answering(t: TestContext, delayMs: number) {
  let [busy, mostBusy, mostOpen] = [0, 0, 0];
  const open = new Set<net.Socket>();
  const server = http.createServer((_, response) => {
    busy += 1;
    mostBusy = Math.max(mostBusy, busy);
    setTimeout(() => {
      busy -= 1;
      response.end("ok");
    }, delayMs);
  });
  server.keepAliveTimeout = 60_000;
  server.on("connection", (socket: net.Socket) => {
    open.add(socket);
    mostOpen = Math.max(mostOpen, open.size);
    // Its FIN may be read behind the next connection.
    socket.on("end", () => open.delete(socket)).on("close", () => open.delete(socket));
  });
  await once(server.listen(0, "127.0.1.1"), "listening");
  t.after(() => server.close().closeAllConnections());
  const { address, port } = server.address() as net.AddressInfo;
  return { endpoints: [{ address, port }], open, most: () => ({ busy: mostBusy, open: mostOpen }) };
}

async function asked(port: number, agent: http.Agent): Promise<number> {
  const [response] = (await once(http.get({ host: "127.0.0.1", port, agent }), "response")) as [http.IncomingMessage];
  response.resume();
  await once(response, "end");
  return response.statusCode ?? 0;
}

for (const threads of [1, 2, 4])
  test(`${threads} data threads: requests wait for a connection, and never have more than the cap`, async (t) => {
    const server = await answering(t, 5);
    const made = await sharingNode(t, threads, {
      endpoints: server.endpoints,
      policy: { ...policy, maxConnections: 3 },
    });
    const agent = new http.Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const statuses = new Map<number, number>();
    const caller = async (nth: number): Promise<void> => {
      for (let time = 0; time < 25; time += 1) {
        const status = await asked(made.ports[nth % threads] ?? 0, agent);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, nth) => caller(nth)));
    const { busy, open } = server.most();
    t.diagnostic(`${busy} requests and ${open} connections at once`);
    assert.deepEqual([...statuses], [[200, 300]]);
    assert.ok(busy === 3, `${busy} requests at once`);
    assert.equal(refusals(made), 0);
  });

test("a connection that is idle on another thread, or to another endpoint, makes room for the next request", async (t) => {
  const one = await answering(t, 0);
  const made = await sharingNode(t, 2, { endpoints: one.endpoints, policy: { ...policy, maxConnections: 1 } });
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  for (const thread of [0, 1, 0, 1, 0]) assert.equal(await asked(made.ports[thread] ?? 0, agent), 200);
  const [two, three] = [await answering(t, 0), await answering(t, 0)];
  const endpoints = [...two.endpoints, ...three.endpoints];
  const turns = { ...policy, maxConnections: 1, balance: "round-robin" } as const;
  const [port = 0] = (await sharingNode(t, 1, { endpoints, policy: turns })).ports;
  for (let time = 0; time < 6; time += 1) assert.equal(await asked(port, agent), 200);
  assert.deepEqual(
    [two.most(), three.most()],
    [
      { busy: 1, open: 1 },
      { busy: 1, open: 1 },
    ],
  );
});

test("a request that finds no connection in time is answered 503 and counted, and is not sent elsewhere or again", async (t) => {
  const never: net.Socket[] = [];
  const server = net.createServer((socket) => never.push(socket.on("error", () => undefined)));
  await once(server.listen(0, "127.0.1.1"), "listening");
  t.after(() => {
    for (const socket of never) socket.destroy();
    server.close();
  });
  const { address, port: at } = server.address() as net.AddressInfo;
  // Long enough for the first to have its connection.
  const pool = { connectMs: 1_000, idleMs: 0, mostRequests: 0 };
  const capped = { ...policy, maxConnections: 1, pool };
  const made = await sharingNode(t, 2, { endpoints: [{ address, port: at }], policy: capped });
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const first = http.get({ host: "127.0.0.1", port: made.ports[0] ?? 0, agent }).on("error", () => undefined);
  await once(server, "connection");
  // On its own thread and on the other.
  assert.deepEqual(await Promise.all(made.ports.map((port) => asked(port, agent))), [503, 503]);
  assert.deepEqual([never.length, refusals(made)], [1, 2]);
  const client = http2.connect(`http://127.0.0.1:${made.ports[1] ?? 0}`).on("error", () => undefined);
  t.after(() => client.destroy());
  for (const [type, status] of [
    ["text/plain", 503],
    ["application/grpc", 200],
  ] as const) {
    const stream = client.request({ ":path": "/", ":method": "POST", "content-type": type }).end();
    const [heard] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    stream.resume();
    // 14 is UNAVAILABLE.
    const said = [heard[":status"], heard["x-envoy-overloaded"], heard["grpc-status"]];
    assert.deepEqual(said, [status, "true", type === "application/grpc" ? "14" : undefined]);
  }
  assert.deepEqual([never.length, refusals(made)], [1, 4]);
  // Some wait while the agent ends.
  for (const port of made.ports) http.get({ host: "127.0.0.1", port, agent }).on("error", () => undefined);
  first.destroy();
});

test("requests of HTTP/2 share connections below the cap, and wait for those that there are", async (t) => {
  const sessions = new Set<http2.ServerHttp2Session>();
  let most = 0;
  // Two streams each: six calls at once want three connections.
  const server = http2.createServer({ settings: { maxConcurrentStreams: 2 } }, (_, response) => {
    setTimeout(() => response.end("ok"), 5);
  });
  server.on("session", (session) => {
    sessions.add(session);
    most = Math.max(most, sessions.size);
    session.on("error", () => undefined).on("close", () => sessions.delete(session));
  });
  await once(server.listen(0, "127.0.1.1"), "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const { address, port } = server.address() as net.AddressInfo;
  // What ends the test ends the callers' connections.
  let isOver = false;
  t.after(() => {
    isOver = true;
  });
  const made = await sharingNode(t, 2, {
    endpoints: [{ address, port }],
    policy: { ...policy, maxConnections: 2 },
  });
  const clients = made.ports.map((each) => http2.connect(`http://127.0.0.1:${each}`));
  for (const client of clients) client.on("error", (error) => assert.ok(isOver, error));
  t.after(() => {
    for (const client of clients) client.destroy();
  });
  const call = async (client: http2.ClientHttp2Session): Promise<number> => {
    const stream = client.request({ ":path": "/" });
    const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    stream.resume();
    await once(stream, "end");
    return Number(headers[":status"]);
  };
  for (let round = 0; round < 5; round += 1) {
    const statuses = await Promise.all(clients.flatMap((client) => Array.from({ length: 6 }, () => call(client))));
    assert.deepEqual(new Set(statuses), new Set([200]));
  }
  assert.ok(most <= 3, `${most} connections`);
});
