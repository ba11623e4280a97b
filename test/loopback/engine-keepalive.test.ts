// tests · tunnels at rest: an idle tunnel ends and costs nobody a connection, a tunnel that answers no PING is lost (A16).
// Real sockets, the engine's own clock, shorter times.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { constants } from "node:os";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { ca, clientEngine, installBoth, pair, serverEngine, serverLeaf } from "./hbone-pair.ts";
import { ACK, END_HEADERS, frame, HEADERS, literal, PING, RawPeer, SETTINGS } from "./raw-h2.ts";
import { dial, howItEnds, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

const never = 3_600_000;
/** What is not the subject of a test never comes, so that a busy machine changes nothing. */
const soonIdle = { pingEveryMs: 50, pingAnswerMs: never, idleMs: 300 };
const neverLost = { pingEveryMs: 50, pingAnswerMs: never, idleMs: never };
/** Set when the peer is to be silent: how long a busy machine takes for an answer says nothing. */
const soonLost = { ...neverLost, pingAnswerMs: 1_000 };

async function says(port: number, word: string): Promise<net.Socket> {
  const socket = await dial(port);
  socket.write(word);
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.equal(answer.toString(), word);
  return socket;
}

const tunnels = (under: TestEngine): number => under.engine.stats().tunnels;

test("a tunnel without a stream ends at both its ends, in order; the next connection dials another", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using under = pair(app.port);
  under.client.engine.setTunnelTimes(soonIdle);
  const first = await says(under.port, "one");
  assert.deepEqual([tunnels(under.client), tunnels(under.server)], [1, 1]);
  first.end();
  await once(first, "close");
  await until(() => tunnels(under.client) === 0 && tunnels(under.server) === 0);
  const second = await says(under.port, "two");
  assert.equal(under.client.engine.stats().tunnelsDialledTotal, 2);
  second.destroy();
  // It ended by GOAWAY and close_notify: no failure was reported.
  assert.deepEqual([...new Set(under.client.closed().map(({ cause }) => cause))], ["finished"]);
  app.close();
});

test("a quiet connection keeps its tunnel, however long it says nothing", async () => {
  const app = await serve((socket) => socket.pipe(socket));
  using under = pair(app.port);
  under.client.engine.setTunnelTimes(soonIdle);
  const quiet = await says(under.port, "one");
  await sleep(soonIdle.idleMs * 3);
  assert.equal(tunnels(under.client), 1);
  quiet.write("still there");
  const [answer] = (await once(quiet, "data")) as [Buffer];
  assert.equal(answer.toString(), "still there");
  assert.equal(under.client.engine.stats().tunnelsDialledTotal, 1);
  quiet.destroy();
  app.close();
});

test("a peer that answers every PING is kept; one that answers none is lost", async () => {
  installBoth();
  const app = await serve((socket) => socket.pipe(socket));
  using under = serverEngine(() => app.port);
  under.engine.setTunnelTimes(neverLost);
  const port = under.listen(2, "hbone");
  const peer = await RawPeer.connect(port);
  peer.connect(1);
  await under.event("established");
  const pings = (): readonly Buffer[] =>
    peer.frames.filter(({ type, flags }) => type === PING && (flags & ACK) === 0).map(({ payload }) => payload);
  for (let answered = 0; answered < 8; answered++) {
    await until(() => pings().length > answered);
    peer.send(frame(PING, ACK, 0, pings()[answered]));
  }
  assert.deepEqual(under.closed(), []);
  under.engine.setTunnelTimes(soonLost);
  await peer.closed;
  const closed = await under.event("closed");
  assert.deepEqual([closed.cause, closed.detail], ["tunnel-lost", constants.errno.ETIMEDOUT]);
  await until(() => tunnels(under) === 0);
  app.close();
});

test("a node that is gone without a word: both ends' connections are reset, and new ones find their way when it is back", async () => {
  installBoth();
  const app = await serve((socket) => socket.pipe(socket));
  using server = serverEngine(() => app.port);
  const hbone = server.listen(2, "hbone");
  // The network between: while it is cut, bytes and FINs stay where they are.
  const wires: net.Socket[] = [];
  let cut = false;
  const network = net.createServer((near) => {
    const far = net.connect(hbone, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      wires.push(from);
      from.on("error", () => !cut && to.destroy());
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => network.listen(0, "127.0.0.1", resolve));
  const between = network.address();
  assert.ok(between !== null && typeof between === "object");
  using client = clientEngine(() => between.port);
  for (const under of [server, client]) under.engine.setTunnelTimes(neverLost);
  const port = client.listen(1, "outbound");
  const caught = await says(port, "one");
  const [served] = app.connections;
  assert.ok(served);
  const ended = [howItEnds(caught), howItEnds(served)];
  cut = true;
  for (const wire of wires) wire.unpipe().pause();
  for (const under of [server, client]) under.engine.setTunnelTimes(soonLost);
  assert.deepEqual(await Promise.all(ended), ["ECONNRESET", "ECONNRESET"]);
  for (const under of [client, server]) {
    const closed = await under.event("closed");
    assert.deepEqual([closed.cause, closed.detail], ["tunnel-lost", constants.errno.ETIMEDOUT]);
    await until(() => tunnels(under) === 0);
  }
  cut = false;
  for (const under of [server, client]) under.engine.setTunnelTimes(neverLost);
  const again = await says(port, "two");
  again.destroy();
  for (const wire of wires) wire.destroy();
  network.close();
  app.close();
});

/** A server that has its SETTINGS and an answer to the first CONNECT ready, and sends them after `delayMs`; undefined: never. */
async function slowToSettle(delayMs: number | undefined): Promise<{ readonly port: number; close(): void }> {
  const peers: RawPeer[] = [];
  const server = tls.createServer(
    { cert: serverLeaf.chainPem, key: serverLeaf.keyPem, ca: ca.pem, requestCert: true, ALPNProtocols: ["h2"] },
    (socket) => {
      const peer = new RawPeer(socket);
      peers.push(peer);
      if (delayMs === undefined) return;
      const answer = frame(HEADERS, END_HEADERS, 1, literal(":status", "200"));
      setTimeout(() => peer.send(frame(SETTINGS, 0, 0), answer), delayMs);
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address && typeof address === "object");
  return {
    port: address.port,
    close() {
      for (const { socket } of peers) socket.destroy();
      server.close();
    },
  };
}

test("SETTINGS that come late: the tunnel waits for them as long as for the answer to a PING, not shorter", async () => {
  installBoth();
  const server = await slowToSettle(500);
  using under = clientEngine(() => server.port);
  under.engine.setTunnelTimes(soonIdle);
  const socket = await dial(under.listen(1, "outbound"));
  await under.event("established");
  assert.deepEqual(under.closed(), []);
  socket.destroy();
  server.close();
});

test("SETTINGS that never come: the tunnel ends and says so", async () => {
  installBoth();
  const server = await slowToSettle(undefined);
  using under = clientEngine(() => server.port);
  under.engine.setTunnelTimes({ ...soonLost, pingAnswerMs: 300 });
  const socket = await dial(under.listen(1, "outbound"));
  const { cause, message } = await under.event("closed");
  assert.deepEqual([cause, message], ["h2-failed", "the peer sent no SETTINGS"]);
  socket.destroy();
  server.close();
});

test("a peer that reads nothing and answers each PING all the same has not answered: its tunnel ends", async () => {
  installBoth();
  using under = serverEngine(() => 0);
  under.engine.setTunnelTimes(soonLost);
  const peer = await RawPeer.connect(under.listen(2, "hbone"));
  peer.socket.pause();
  // What most programs write into their PINGs.
  const guess = setInterval(() => peer.send(frame(PING, ACK, 0, Buffer.alloc(8))), 20);
  await until(() => tunnels(under) === 1);
  await until(() => tunnels(under) === 0);
  clearInterval(guess);
  peer.socket.destroy();
});
