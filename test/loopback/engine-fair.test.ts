// tests · what a pod may have of an engine for its requests: turns, open requests, heads, memory. test/fuzz/native/contracts/pod_shares.cc
// has the rules in all their cases; here connections keep them.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, HttpReading } from "../../agent/engine/answers.ts";
import type { EngineEvent, Established, RequestEnded, RequestEvent } from "../../agent/engine/events.ts";
import { END_HEADERS, END_STREAM, frame, frameTypes, preface, u32 } from "../support/h2-frames.ts";
import { refOf } from "./hbone-pair.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { closedAtEnd, dial, howItEnds, readAll, type Server, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

const MOST = { open: 10_000, headBytes: 8 << 20 };
const request = (path: string, field = ""): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${field}\r\n`;
const filler = (bytes: number): string => `x-filler: ${"y".repeat(bytes)}\r\n`;

/** An engine that reads what comes to pods 1 and 2, and sends it all to one application. */
class Pods implements Disposable {
  readonly engine: TestEngine;
  readonly #ports: readonly [number, number];
  /** In the order in which they came, with the number of the batch. */
  readonly requests: { readonly event: RequestEvent; readonly batch: number }[] = [];
  /** Whether a request that has just been added to them is sent on at once. */
  goesOn: (event: RequestEvent) => boolean = () => true;

  constructor(appPort: number, reading: HttpReading = "or-end") {
    this.engine = new TestEngine((event) => this.#answer(event, appPort, reading));
    for (const pod of [1, 2]) this.engine.engine.setPod(pod, { netnsCookie: BigInt(pod), identity: -1 });
    this.#ports = [this.engine.listen(1, "inbound"), this.engine.listen(2, "inbound")];
  }

  /** Sees every event. */
  seen: (event: EngineEvent) => void = () => undefined;

  port(pod: 1 | 2): number {
    return this.#ports[pod - 1] ?? 0;
  }

  #answer(event: EngineEvent, port: number, reading: HttpReading): Answer | undefined {
    this.seen(event);
    if (event.type === "accepted") {
      const to = { address: "127.0.0.1", port };
      return { ...refOf(event), type: "dial", podIdx: event.podIdx, to, from: null, baggage: "", reading };
    }
    if (event.type !== "request") return undefined;
    this.requests.push({ event, batch: this.engine.engine.stats().batches });
    if (!this.goesOn(event)) return undefined;
    const { request } = event;
    return { ...refOf(event), type: "forward", request, target: "" };
  }

  /** A connection that the engine reads by now. */
  async dial(pod: 1 | 2): Promise<{ readonly socket: net.Socket; readonly conn: number }> {
    const before = this.established();
    const socket = await dial(this.#ports[pod - 1] ?? 0);
    while (this.established().length === before.length) await sleep(1);
    return { socket, conn: this.established().at(-1)?.conn ?? -1 };
  }

  established(): Established[] {
    return this.engine.events.filter((event) => event.type === "established");
  }

  ended(): RequestEnded[] {
    return this.engine.events.filter((event) => event.type === "request-ended");
  }

  async closed(conn: number): Promise<string> {
    return (await this.engine.event("closed", (event) => event.conn === conn)).cause;
  }

  [Symbol.dispose](): void {
    this.engine[Symbol.dispose]();
  }
}

/** Answers each request but those for /wait. */
async function application(): Promise<Server> {
  return serve((socket) => {
    socket.on("data", (data) => {
      if (!data.includes("/wait")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });
}

async function answerTo(socket: net.Socket, text: string): Promise<string> {
  const heard = once(socket, "data");
  socket.write(text);
  return String((await heard)[0]);
}

test("of a pod with 200 requests at once 24 at most are asked about in a turn; another pod's request does not wait for them", async () => {
  const app = await application();
  using pods = new Pods(app.port);
  const flood: net.Socket[] = [];
  for (let i = 0; i < 200; i++) flood.push((await pods.dial(1)).socket);
  const bystander = await pods.dial(2);
  for (const socket of flood) socket.write(request("/"));
  bystander.socket.write(request("/"));
  while (pods.ended().length < 201) await sleep(5);
  assert.ok(pods.ended().every(({ outcome }) => outcome === "answered"));
  const at = pods.requests.findIndex(({ event }) => event.podIdx === 2);
  // How many turns later the engine sees the last of them is the kernel's to say.
  assert.ok(at >= 0 && at < 200 - 24, `${at} requests of the flood came first`);
  const inBatch = Map.groupBy(pods.requests, ({ batch }) => batch);
  for (const batch of inBatch.values())
    assert.ok(batch.filter(({ event }) => event.podIdx === 1).length <= 24, `${batch.length} in a batch`);
});

/** Of pod 1: `CONNECTIONS` callers that reset each request at once, within the budget of each. */
const [CONNECTIONS, REQUESTS] = [60, 800];
const rapidReset = Buffer.concat(
  Array.from({ length: REQUESTS }, (_, nth) => 2 * nth + 1).flatMap((stream) => [
    frame(frameTypes.headers, END_STREAM | END_HEADERS, stream, headOf({})),
    frame(frameTypes.rstStream, 0, stream, u32(8)),
  ]),
);

/** Their connections have been read before. */
async function floodLater(port: number): Promise<readonly net.Socket[]> {
  const callers: RawCaller[] = [];
  for (let nth = 0; nth < CONNECTIONS; nth++) callers.push(await RawCaller.open(port));
  for (const { socket } of callers) socket.write(rapidReset);
  return callers.map(({ socket }) => socket);
}

/** Their connections begin together. */
async function floodAtOnce(port: number): Promise<readonly net.Socket[]> {
  const first = Buffer.concat([preface, frame(frameTypes.settings, 0, 0), rapidReset]);
  return Array.from({ length: CONNECTIONS }, () => {
    const socket = closedAtEnd(net.connect(port, "127.0.0.1"));
    socket.on("error", () => {}).resume();
    socket.write(first);
    return socket;
  });
}

const floods = [
  ["a flood on open connections", floodLater, "nobody"],
  ["a flood on connections that begin together", floodAtOnce, "nobody"],
  ["a flood whose callers then reset their connections", floodLater, "callers"],
  ["a flood whose application then resets its connections", floodLater, "application"],
] as const;
for (const [what, flood, resetBy] of floods) {
  test(`a pod with many connections of HTTP/2 has no more of a turn than with one: ${what}`, async () => {
    // Of HTTP/2 it says nothing.
    const app = await serve((socket) => {
      socket.on("data", (data) => {
        if (data.includes("HTTP/1.1")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      });
    });
    using pods = new Pods(app.port);
    const endedInBatch = new Map<number, number>();
    let ended = 0;
    let closed = 0;
    pods.seen = (event) => {
      if (event.type === "closed") closed++;
      if (event.type !== "request-ended" || event.podIdx !== 1) return;
      const { batches } = pods.engine.engine.stats();
      endedInBatch.set(batches, (endedInBatch.get(batches) ?? 0) + 1);
      ended++;
    };
    pods.goesOn = ({ podIdx }) => podIdx === 2;
    const bystander = await pods.dial(2);
    const callers = await flood(pods.port(1));
    let answered = 0;
    const goesOn = {
      nobody: () => ended < CONNECTIONS * REQUESTS,
      callers: () => closed < CONNECTIONS,
      application: () => answered < 200,
    };
    while (goesOn[resetBy]()) {
      assert.match(await answerTo(bystander.socket, request("/")), /^HTTP\/1\.1 200 /);
      answered++;
      if (resetBy === "nobody" || answered !== 20) continue;
      // The first of the application's is the bystander's.
      const sockets = resetBy === "callers" ? callers : app.connections.slice(1);
      for (const socket of sockets) socket.resetAndDestroy();
    }
    // What a pod reads beyond its share in a turn, it owes: a reading of a single connection, and not of all.
    const most = Math.max(...endedInBatch.values());
    assert.ok(most <= 64, `${most} requests in a turn`);
    assert.ok(answered >= 20, `${answered} answers to another pod meanwhile`);
    assert.equal(pods.engine.engine.stats().slowedTotal, 0, "no connection is over a budget of its own");
  });
}

test("what waits for its turn is asked about once, also when all are to be asked again, and never when its caller has gone", async () => {
  const app = await application();
  using pods = new Pods(app.port);
  const callers: { readonly socket: net.Socket; readonly conn: number }[] = [];
  for (let i = 0; i < 40; i++) callers.push(await pods.dial(1));
  // A pod that is alone would not wait.
  await pods.dial(2);
  const gone = new Set(callers.slice(30).map(({ conn }) => conn));
  // A turn's requests are asked about in one batch, so that what comes behind the batch of the sixteenth has waited.
  let again = 0;
  pods.goesOn = () => {
    if (again === 0 && pods.requests.length < 16) return false;
    if (again > 0) return true;
    again = pods.requests.at(-1)?.batch ?? 0;
    for (const { conn, generation } of pods.established()) {
      pods.engine.engine.answer({ type: "ask-again", conn, generation });
      if (gone.has(conn)) pods.engine.engine.answer({ type: "close", conn, generation });
    }
    return true;
  };
  for (const { socket } of callers) socket.write(request("/"));
  while (pods.ended().filter(({ outcome }) => outcome === "answered").length < 30) await sleep(5);
  for (const { conn } of callers) {
    const batches = pods.requests.filter(({ event }) => event.conn === conn).map(({ batch }) => batch);
    const hasWaited = batches.every((batch) => batch > again);
    if (hasWaited) assert.equal(batches.length, gone.has(conn) ? 0 : 1, `${batches} behind ${again}`);
    else if (!gone.has(conn)) assert.equal(batches.length, 2, `${batches} and ${again}`);
  }
  assert.equal(pods.engine.closed().length, gone.size);
});

test("a pod at its limit loses the connection that was silent longest; with requests open on all, the next is answered with 503", async () => {
  const app = await application();
  using pods = new Pods(app.port);
  pods.engine.engine.setPodLimits({ ...MOST, open: 3 });
  const other = await pods.dial(2);
  const first = await pods.dial(1);
  const second = await pods.dial(1);
  const third = await pods.dial(1);
  assert.match(await answerTo(first.socket, request("/")), /^HTTP\/1\.1 200 /);
  third.socket.write(request("/wait"));
  await pods.engine.event("request", ({ conn }) => conn === third.conn);
  const secondEnds = howItEnds(second.socket);
  const fourth = await pods.dial(1);
  assert.equal(await pods.closed(second.conn), "http-silent");
  assert.equal(await secondEnds, "ECONNRESET");
  for (const { socket, conn } of [first, fourth]) {
    socket.write(request("/wait"));
    await pods.engine.event("request", (event) => event.conn === conn && event.target === "/wait");
  }
  const fifth = await pods.dial(1);
  fifth.socket.write(request("/"));
  const refused = (await readAll(fifth.socket)).toString();
  assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*connection: close[\s\S]*pod-budget$/i);
  fifth.socket.end();
  const { outcome, status, refusal } = await pods.engine.event("request-ended", ({ conn }) => conn === fifth.conn);
  assert.deepEqual([outcome, status, refusal], ["refused", 503, "pod-budget"]);
  assert.match(await answerTo(other.socket, request("/")), /^HTTP\/1\.1 200 /);
  assert.equal(pods.engine.engine.stats().shedTotal, 2);
});

test("where policy only watches, the connection that was silent longest goes on unread", async () => {
  const echo = await serve((socket) => socket.pipe(socket));
  using pods = new Pods(echo.port, "or-pass");
  pods.engine.engine.setPodLimits({ ...MOST, open: 1 });
  const first = await pods.dial(1);
  const second = await pods.dial(1);
  const opaque = await pods.engine.event("opaque");
  assert.equal(opaque.conn, first.conn);
  assert.equal(await answerTo(first.socket, request("/")), request("/"));
  assert.equal(pods.requests.length, 0);
  second.socket.destroy();
});

test("over its limit of heads a pod loses what holds most of them; among equals the next is answered with 503", async () => {
  const app = await application();
  using pods = new Pods(app.port);
  pods.engine.engine.setPodLimits({ ...MOST, headBytes: 10_000 });
  const slow = await pods.dial(1);
  slow.socket.write(request("/", filler(9_000)).slice(0, -1));
  const small = await pods.dial(1);
  small.socket.write(request("/wait", filler(3_500)));
  assert.equal(await pods.closed(slow.conn), "shed");
  const another = await pods.dial(1);
  another.socket.write(request("/wait", filler(3_500)));
  await pods.engine.event("request", ({ conn }) => conn === another.conn);
  const third = await pods.dial(1);
  third.socket.write(request("/wait", filler(3_500)));
  assert.match((await readAll(third.socket)).toString(), /^HTTP\/1\.1 503 [\s\S]*pod-budget$/);
  third.socket.end();
  assert.deepEqual(
    pods.requests.map(({ event }) => event.conn),
    [small.conn, another.conn],
  );
});

test("when memory is short, the pod with most of it pays, and no more than is needed", async () => {
  const body = Buffer.alloc(16 << 20, "z");
  const app = await serve((socket) => {
    socket.once("data", () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
      socket.write(body);
    });
  });
  using pods = new Pods(app.port);
  const held = (): number => pods.engine.engine.stats().bufferBytes;
  const bystander = await pods.dial(2);
  for (let i = 0; i < 4; i++) {
    const { socket } = await pods.dial(1);
    socket.pause();
    const before = held();
    socket.write(request("/"));
    while (held() - before < 64 * 1024) await sleep(5);
  }
  for (let before = -1; before !== held(); await sleep(100)) before = held();
  // Above 80 % and below 95 %: nothing else ends a connection there.
  pods.engine.engine.setBufferBudget(Math.ceil(held() / 0.87));
  bystander.socket.write(request("/"));
  await once(bystander.socket, "data");
  const closed = pods.engine.closed();
  assert.deepEqual(
    closed.map(({ cause }) => cause),
    ["shed"],
  );
  assert.notEqual(closed[0]?.conn, bystander.conn);
});
