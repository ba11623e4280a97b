// tests · a DestinationRule's http1MaxPendingRequests of HTTP/2, with real sockets, engines and data threads: no more calls wait for a stream than it
// says, over all threads together and of both protocols; others are answered at once.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type net from "node:net";
import test, { type TestContext } from "node:test";
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

/** Of HTTP/2, with so many streams for each connection. Keeps its answers until `release`, and answers at once from then on. */
async function withholding(t: TestContext, streams: number) {
  let [isReleased, got] = [false, 0];
  const kept: http2.ServerHttp2Stream[] = [];
  const sessions = new Set<http2.ServerHttp2Session>();
  const answer = (stream: http2.ServerHttp2Stream): void => {
    if (stream.destroyed) return;
    stream.respond({ ":status": 200 });
    stream.end("ok");
  };
  const server = http2.createServer({ settings: { maxConcurrentStreams: streams } });
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => undefined);
  });
  server.on("stream", (stream) => {
    got += 1;
    stream.on("error", () => undefined);
    if (isReleased) answer(stream);
    else kept.push(stream);
  });
  await once(server.listen(0, "127.0.1.1"), "listening");
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const { address, port } = server.address() as net.AddressInfo;
  const release = (): void => {
    isReleased = true;
    for (const stream of kept) answer(stream);
  };
  return { endpoints: [{ address, port }], got: () => got, sessions, release };
}

function clientOf(t: TestContext, port: number): http2.ClientHttp2Session {
  const client = http2.connect(`http://127.0.0.1:${port}`).on("error", () => undefined);
  t.after(() => client.destroy());
  return client;
}

type Heard = { readonly status: number; readonly overloaded: string | undefined; readonly body: string };

async function answered(stream: http2.ClientHttp2Stream): Promise<Heard> {
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  let body = "";
  for await (const part of stream.setEncoding("utf8")) body += part;
  return { status: Number(headers[":status"]), overloaded: headers["x-envoy-overloaded"]?.toString(), body };
}

const called = (client: http2.ClientHttp2Session): Promise<Heard> => answered(client.request({ ":path": "/" }));

const served: Heard = { status: 200, overloaded: undefined, body: "ok" };
const refused: Heard = { status: 503, overloaded: "true", body: "too many connections" };

for (const threads of [1, 2, 4])
  test(`${threads} data threads: as many calls as may wait are served later, and others are answered 503 at once`, async (t) => {
    const server = await withholding(t, 2);
    const made = await sharingNode(t, threads, {
      ...{ endpoints: server.endpoints, policy: { ...policy, maxConnections: 1, maxPending: 3 } },
    });
    const clients = made.ports.map((port) => clientOf(t, port));
    const clientFor = (nth: number): http2.ClientHttp2Session => clients[nth % threads] ?? assert.fail();
    const first: Promise<Heard>[] = [];
    // All of the first thread: the connection is its own, and two of them have its streams.
    for (let nth = 0; nth < 2; nth += 1) {
      first.push(called(clientFor(0)));
      await until(() => server.got() === nth + 1);
    }
    for (let nth = 0; nth < 3; nth += 1) {
      first.push(called(clientFor(nth)));
      await until(() => waiting(made) === nth + 1);
    }
    // All at once, on all threads; and a request of HTTP/1, whose room is the same.
    const more = await Promise.all(Array.from({ length: 12 }, (_, nth) => called(clientFor(nth))));
    assert.deepEqual(more, Array(12).fill(refused));
    const [response] = (await once(http.get({ host: "127.0.0.1", port: made.ports[0] }), "response")) as [
      http.IncomingMessage,
    ];
    response.resume();
    assert.deepEqual([response.statusCode, response.headers["x-envoy-overloaded"]], [503, "true"]);
    const grpc = clientFor(0).request({ ":path": "/a.B/C", ":method": "POST", "content-type": "application/grpc" });
    const [headers] = (await once(grpc.end(), "response")) as [http2.IncomingHttpHeaders];
    // 14 is UNAVAILABLE.
    assert.deepEqual([headers[":status"], headers["grpc-status"]], [200, "14"]);
    assert.deepEqual([server.got(), waiting(made), connectionsOf(made).refusals], [2, 3, 14]);
    server.release();
    assert.deepEqual(await Promise.all(first), Array(5).fill(served));
    await until(() => waiting(made) === 0);
    for (let nth = 0; nth < 4; nth += 1) assert.deepEqual(await called(clientFor(nth)), served);
  });

test("without maxConnections calls wait for the connection that they share, and for nothing where it has streams", async (t) => {
  const server = await withholding(t, 100);
  const made = await sharingNode(t, 1, { endpoints: server.endpoints, policy: { ...policy, maxPending: 2 } });
  const client = clientOf(t, made.ports[0] ?? 0);
  await once(client, "connect");
  // In one write: the connection opens for the first of them.
  const all = Array.from({ length: 6 }, () => called(client));
  const heard = Promise.all(all);
  await until(() => server.got() === 2 && waiting(made) === 0);
  server.release();
  const statuses = (await heard).map(({ status }) => status);
  assert.ok(statuses.filter((status) => status === 200).length >= 2, `${statuses}`);
  // With a stream to be had nobody waits, and nobody is refused.
  assert.deepEqual(await Promise.all(Array.from({ length: 50 }, () => called(client))), Array(50).fill(served));
});

test("a call that is reset while it waits gives up its room, and so does each of a caller that is gone", async (t) => {
  const server = await withholding(t, 1);
  const capped = { ...policy, maxConnections: 1, maxPending: 2 };
  const made = await sharingNode(t, 2, { endpoints: server.endpoints, policy: capped });
  const [own, other] = [clientOf(t, made.ports[0] ?? 0), clientOf(t, made.ports[1] ?? 0)];
  const holds = called(own);
  await until(() => server.got() === 1);
  const leaves = own.request({ ":path": "/" }).on("error", () => undefined);
  await until(() => waiting(made) === 1);
  const gone = other.request({ ":path": "/" }).on("error", () => undefined);
  await until(() => waiting(made) === 2);
  assert.deepEqual(await called(own), refused);
  leaves.close(http2.constants.NGHTTP2_CANCEL);
  await until(() => waiting(made) === 1);
  other.destroy();
  await until(() => waiting(made) === 0);
  assert.equal(gone.destroyed, true);
  const stays = [called(own), called(own)];
  await until(() => waiting(made) === 2);
  server.release();
  assert.deepEqual(await Promise.all([holds, ...stays]), Array(3).fill(served));
});

for (const threads of [1, 2])
  test(`${threads} data threads: random calls, some of which leave: never more wait than may, and in the end nobody (seed ${seed})`, async (t) => {
    const dice = new Dice(seed);
    const server = await withholding(t, 1);
    server.release();
    const capped = { ...policy, maxConnections: 1, maxPending: 2 };
    const made = await sharingNode(t, threads, { endpoints: server.endpoints, policy: capped });
    const clients = made.ports.map((port) => clientOf(t, port));
    const counts = new Map<number, number>();
    const caller = async (): Promise<void> => {
      for (let time = 0; time < 30; time += 1) {
        const stream = dice.pick(clients).request({ ":path": "/" });
        if (dice.roll(6) > 0) {
          // node:http2 counts a stream that was reset until its script has seen that, and refuses the next so long.
          const heard = await answered(stream).catch(() => null);
          if (heard === null) assert.equal(stream.rstCode, http2.constants.NGHTTP2_ENHANCE_YOUR_CALM, `seed ${seed}`);
          if (heard === null) continue;
          assert.deepEqual(heard, heard.status === 200 ? served : refused, `seed ${seed}`);
          counts.set(heard.status, (counts.get(heard.status) ?? 0) + 1);
        } else {
          stream.on("error", () => undefined).close(http2.constants.NGHTTP2_CANCEL);
          await new Promise((resolve) => setImmediate(resolve));
        }
        assert.ok(waiting(made) <= 2 + threads, `seed ${seed}: ${waiting(made)} wait`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, caller));
    t.diagnostic([...counts].join(" "));
    assert.ok((counts.get(200) ?? 0) > 0 && (counts.get(503) ?? 0) > 0, `seed ${seed}: ${[...counts].join(" ")}`);
    await until(() => waiting(made) === 0);
    assert.deepEqual(await called(clients[0] ?? assert.fail()), served);
  });
