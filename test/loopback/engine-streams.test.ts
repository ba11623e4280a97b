// tests · the streams of a tunnel that we dialled, before node:http2: few allowed, refused, aborted by the application.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import test from "node:test";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { Dice } from "../support/dice.ts";
import { clientEngine, installBoth } from "./hbone-pair.ts";
import { peerServer } from "./http2-peer.ts";
import { dial, dialRefused, readAll } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";
import { until } from "./until.ts";

const { NGHTTP2_CONNECT_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;

function echo(stream: http2.ServerHttp2Stream): void {
  stream.respond({ ":status": 200 });
  stream.pipe(stream);
}

/** One call of an application: what it said comes back, behind everything a FIN. */
async function call(port: number, word: string): Promise<string> {
  const socket = await dial(port);
  socket.end(word);
  return String(await readAll(socket).catch((error: NodeJS.ErrnoException) => error.code));
}

/** `count` calls, `atOnce` of them together. None may fail. */
async function assertServed(port: number, count: number, atOnce: number): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < count) {
      const word = `word ${next++}`;
      assert.equal(await call(port, word), word);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
}

for (const limit of [1, 5, 50, 100]) {
  test(`a peer that allows ${limit} streams: none of 300 connections fails, 80 at once`, async () => {
    installBoth();
    const peer = await peerServer(echo, { maxConcurrentStreams: limit });
    using under = clientEngine(() => peer.port);
    await assertServed(under.listen(1, "outbound"), 300, 80);
    peer.close();
  });
}

test("connections that live at once, one stream a tunnel", async () => {
  installBoth();
  const peer = await peerServer(echo, { maxConcurrentStreams: 1 });
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const sockets = await Promise.all(Array.from({ length: 40 }, () => dial(port)));
  await Promise.all(
    sockets.map((socket) => {
      socket.write("x");
      return once(socket, "data");
    }),
  );
  assert.equal(under.engine.stats().tunnelsDialledTotal, 40);
  peer.close();
});

test("a peer that lowers and raises its limit while streams are on their way: none fails", async () => {
  installBoth();
  const limits = [2, 60, 1, 100, 3];
  let streams = 0;
  const peer = await peerServer((stream) => {
    if (++streams % 20 === 0) {
      stream.session?.settings({ maxConcurrentStreams: limits[(streams / 20) % limits.length] ?? 1 });
    }
    setTimeout(() => !stream.destroyed && echo(stream), 5);
  });
  using under = clientEngine(() => peer.port);
  await assertServed(under.listen(1, "outbound"), 400, 80);
  peer.close();
});

test("until SETTINGS have come a tunnel has one stream, and no other is dialled; 50 then share it", async () => {
  installBoth();
  const peer = await peerServer(echo);
  using under = clientEngine(() => peer.port);
  await assertServed(under.listen(1, "outbound"), 50, 50);
  assert.equal(under.engine.stats().tunnelsDialledTotal, 1);
  peer.close();
});

test("refused streams are tried again on the same tunnel, with the same head, until the peer takes them", async () => {
  installBoth();
  let refused = 0;
  const baggage = new Set<unknown>();
  const peer = await peerServer((stream, headers) => {
    baggage.add(headers.baggage);
    if (refused++ < 40) return stream.close(NGHTTP2_REFUSED_STREAM);
    echo(stream);
  });
  using under = clientEngine(() => peer.port);
  await assertServed(under.listen(1, "outbound"), 20, 20);
  assert.equal(under.engine.stats().tunnelsDialledTotal, 1);
  assert.deepEqual([...baggage], ["k8s.namespace.name=default"]);
  peer.close();
});

test("a peer that serves five streams a tunnel and does not say so: the others get tunnels of their own", async () => {
  installBoth();
  const open = new Map<unknown, number>();
  const peer = await peerServer((stream) => {
    const { session } = stream;
    const now = open.get(session) ?? 0;
    if (now >= 5) return stream.close(NGHTTP2_REFUSED_STREAM);
    open.set(session, now + 1);
    stream.on("close", () => open.set(session, (open.get(session) ?? 0) - 1));
    echo(stream);
  });
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const sockets = await Promise.all(Array.from({ length: 20 }, () => dial(port)));
  await Promise.all(
    sockets.map((socket) => {
      socket.write("x");
      return once(socket, "data");
    }),
  );
  assert.deepEqual(under.closed(), []);
  peer.close();
});

test("streams above the last of a GOAWAY are tried on another tunnel, as often as that happens", async () => {
  installBoth();
  const peer = await peerServer((stream) => {
    if (stream.id === 1 || peer.sessions.length > 4) return echo(stream);
    // Of this tunnel the peer serves the first stream alone.
    if (stream.session && !stream.session.closed) stream.session.goaway(NGHTTP2_NO_ERROR, 1);
  });
  using under = clientEngine(() => peer.port);
  await assertServed(under.listen(1, "outbound"), 30, 30);
  assert.equal(under.engine.stats().tunnelsDialledTotal, 5);
  peer.close();
});

test("a peer that refuses every stream is asked a few times a second, on one tunnel, by 50 connections together", async () => {
  installBoth();
  let refused = 0;
  const peer = await peerServer((stream) => {
    refused++;
    stream.close(NGHTTP2_REFUSED_STREAM);
  });
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const sockets = await Promise.all(Array.from({ length: 50 }, () => dial(port)));
  await until(() => refused >= 20);
  const before = refused;
  await sleep(2_000);
  // Half of 250 ms lies between two tries on average; without a pause there are thousands.
  assert.ok(refused - before < 100, `${refused - before} tries`);
  assert.ok(refused > before);
  assert.equal(under.engine.stats().tunnelsDialledTotal, 1);
  assert.deepEqual(under.closed(), []);
  for (const socket of sockets) socket.destroy();
  peer.close();
});

// Aborts.

/** Withholds its answers to all streams but the first of each tunnel, until they are asked for. */
async function withholding(): Promise<{
  readonly peer: Awaited<ReturnType<typeof peerServer>>;
  readonly held: http2.ServerHttp2Stream[];
  readonly resets: number[];
  answer(): void;
}> {
  const held: http2.ServerHttp2Stream[] = [];
  const resets: number[] = [];
  const met = new Set<unknown>();
  let holds = true;
  const peer = await peerServer((stream) => {
    stream.on("close", () => resets.push(stream.rstCode));
    if (!met.has(stream.session) || !holds) {
      met.add(stream.session);
      return echo(stream);
    }
    held.push(stream);
  });
  return {
    ...{ peer, held, resets },
    answer() {
      holds = false;
      for (const stream of held.splice(0)) if (!stream.destroyed) echo(stream);
    },
  };
}

/** A connection that has its answer. */
async function living(port: number) {
  const socket = await dial(port);
  socket.write("x");
  await once(socket, "data");
  return socket;
}

async function assertLives(socket: Awaited<ReturnType<typeof dial>>): Promise<void> {
  socket.write("still there");
  assert.equal(String((await once(socket, "data"))[0]), "still there");
}

/** `count` connections whose CONNECT the peer has and does not answer, and which are then reset. */
async function abort(under: TestEngine, port: number, held: readonly unknown[], count: number): Promise<void> {
  const before = held.length;
  const closed = under.closed().length;
  const sockets = await Promise.all(Array.from({ length: count }, () => dial(port)));
  await until(() => held.length === before + count);
  for (const socket of sockets) socket.resetAndDestroy();
  await until(() => under.closed().length === closed + count);
}

test("an aborted CONNECT is reset when its answer comes, not before; the tunnel and its other connections live", async () => {
  installBoth();
  const { peer, held, resets, answer } = await withholding();
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const long = await living(port);
  await abort(under, port, held, 40);
  await assertLives(long);
  assert.deepEqual(resets, []);
  assert.equal(under.engine.stats().streams, 41);
  answer();
  await until(() => resets.length === 40);
  assert.deepEqual([...new Set(resets)], [NGHTTP2_CONNECT_ERROR]);
  await until(() => under.engine.stats().streams === 1);
  await assertLives(long);
  assert.equal(await call(port, "new"), "new");
  assert.equal(under.engine.stats().tunnelsDialledTotal, 1);
  peer.close();
});

test("half a tunnel of abandoned CONNECTs: the pod's next connections wait, those of others do not", async () => {
  installBoth();
  const { peer, held, answer } = await withholding();
  using under = clientEngine(() => peer.port);
  under.engine.setPod(3, { netnsCookie: 3n, identity: 101 });
  const port = under.listen(1, "outbound");
  const other = under.listen(3, "outbound");
  const long = await living(port);
  await abort(under, port, held, 50);
  // Without an answer of the peer they are refused. Only the ends of the waiting ones are looked at, no time.
  const closed = under.closed().length;
  assert.deepEqual(await Promise.all([dialRefused(port), dialRefused(port)]), ["ECONNRESET", "ECONNRESET"]);
  await until(() => under.closed().length === closed + 2);
  assert.deepEqual(
    under
      .closed()
      .slice(closed)
      .map(({ cause }) => cause),
    ["unanswered", "unanswered"],
  );
  await assertLives(long);
  await assertLives(await living(other));
  under.engine.setTunnelTimes({ owedMs: 3_600_000 });
  const waiting = Array.from({ length: 20 }, (_, nth) => call(port, `waits ${nth}`));
  const accepted = () => under.events.filter((event) => event.type === "accepted").length;
  await until(() => accepted() === 1 + 50 + 2 + 1 + 20);
  assert.equal(held.length, 50);
  answer();
  assert.deepEqual(
    await Promise.all(waiting),
    waiting.map((_, nth) => `waits ${nth}`),
  );
  await until(() => under.engine.stats().streams === 2);
  assert.equal(await call(port, "again"), "again");
  assert.equal(under.engine.stats().tunnelsDialledTotal, 2, "one for each pod");
  peer.close();
});

test("applications that connect and abort all the time, and a peer that is slow to answer: none of the others is refused", async () => {
  installBoth();
  const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
  console.log(`again: ORLOP_SEED=${seed}`);
  const dice = new Dice(seed);
  const peer = await peerServer((stream) => {
    setTimeout(() => stream.destroyed || echo(stream), dice.roll(30));
  });
  using under = clientEngine(() => peer.port);
  under.engine.setTunnelTimes({ owedMs: 3_600_000 });
  const port = under.listen(1, "outbound");
  // nghttp2 ends a connection after 1,000 resets and 33 more a second, and these are some 600.
  for (let round = 0; round < 20; round++) {
    const aborted = Array.from({ length: dice.roll(60) }, async () => {
      const socket = await dial(port);
      for (let turns = dice.roll(4); turns > 0; turns--) await turn();
      socket.resetAndDestroy();
    });
    const stays = Array.from({ length: 1 + dice.roll(4) }, (_, nth) => call(port, `${round}/${nth}`));
    await Promise.all(aborted);
    assert.deepEqual(
      await Promise.all(stays),
      stays.map((_, nth) => `${round}/${nth}`),
    );
  }
  await until(() => under.engine.stats().abandoned === 0 && under.engine.stats().connections === 0);
  assert.deepEqual([...new Set(under.closed().map(({ cause }) => cause))].sort(), ["finished", "reset-by-downstream"]);
  peer.close();
});

test("an answer that never comes: its tunnel takes no new streams, and ends after the last connection on it", async () => {
  installBoth();
  const { peer, held } = await withholding();
  using under = clientEngine(() => peer.port);
  const never = 3_600_000;
  const times = (pingAnswerMs: number): void =>
    under.engine.setTunnelTimes({ pingEveryMs: never, pingAnswerMs, idleMs: never });
  times(never);
  const port = under.listen(1, "outbound");
  const long = await living(port);
  const [session] = peer.sessions;
  assert.ok(session);
  const gone = once(session, "goaway");
  times(200);
  await abort(under, port, held, 3);
  await gone;
  // The SETTINGS of the next tunnel may be as late.
  times(never);
  await assertLives(long);
  await assertLives(await living(port));
  assert.equal(under.engine.stats().tunnelsDialledTotal, 2);
  assert.equal(under.engine.stats().tunnels, 2);
  long.end();
  await readAll(long);
  await until(() => under.engine.stats().tunnels === 1);
  peer.close();
});

test("an application that closes in order before the answer: its bytes and its FIN arrive", async () => {
  installBoth();
  const { peer, held } = await withholding();
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  await living(port);
  const socket = await dial(port);
  socket.end("all it has to say");
  socket.on("finish", () => socket.destroySoon());
  await until(() => held.length === 1);
  await sleep(50);
  const [stream] = held;
  assert.ok(stream);
  stream.respond({ ":status": 200 });
  const said: Buffer[] = [];
  for await (const chunk of stream) said.push(chunk);
  assert.equal(String(Buffer.concat(said)), "all it has to say");
  stream.end();
  peer.close();
});
