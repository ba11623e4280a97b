// tests · a request of HTTP/2 that is cut at each point where somebody waits: by its caller, by its origin, by the agent, as a stream or with its whole
// connection. Whatever is cut, the request ends once, its connection ends once, nothing is left over, and the next caller is served.
import assert from "node:assert/strict";
import type net from "node:net";
import test from "node:test";
import type { RequestEvent } from "../../agent/engine/events.ts";
import {
  END_HEADERS,
  END_STREAM,
  FrameReader,
  frame,
  frameTypes,
  literal,
  preface,
  u32,
} from "../support/h2-frames.ts";
import { type Step, steps } from "./exchange-steps.ts";
import { endedOf, type Served, serves, ways } from "./origin-engine.ts";
import { headOf, RawCaller } from "./raw-h2c.ts";
import { serve } from "./support.ts";
import { until } from "./until.ts";

const cutters = [
  ...(["caller-stream", "caller-reset", "caller-end"] as const),
  ...(["origin-stream", "origin-goaway", "origin-reset", "origin-end"] as const),
  ...(["agent", "agent-request", "drop-origin"] as const),
];
type Cutter = (typeof cutters)[number];

const CANCEL = u32(8);
/** RFC 7541, appendix A. */
const STATUS_200 = 0x80 | 8;
const settings = frame(frameTypes.settings, 0, 0);
const acknowledged = frame(frameTypes.settings, 1, 0);

/** A connection to the origin, and what has come over it. */
type AtOrigin = {
  readonly socket: net.Socket;
  readonly heads: number[];
  readonly bytes: Map<number, number>;
};

/** Frame by frame; who asks with GET is answered at once. */
async function origin() {
  const connections: AtOrigin[] = [];
  const server = await serve((socket) => {
    const at: AtOrigin = { socket, heads: [], bytes: new Map() };
    connections.push(at);
    const reader = new FrameReader();
    let skips = preface.length;
    socket.setNoDelay(true);
    socket.write(settings);
    socket.on("end", () => socket.end());
    socket.on("data", (part) => {
      const skipped = Math.min(skips, part.length);
      skips -= skipped;
      for (const { type, flags, stream, payload } of reader.push(part.subarray(skipped))) {
        if (type === frameTypes.settings && (flags & 1) === 0) socket.write(acknowledged);
        if (type === frameTypes.data) at.bytes.set(stream, (at.bytes.get(stream) ?? 0) + payload.length);
        if (type !== frameTypes.headers) continue;
        at.heads.push(stream);
        // Heads without a body are of the callers that come afterwards.
        if ((flags & END_STREAM) !== 0)
          socket.write(frame(frameTypes.headers, END_HEADERS | END_STREAM, stream, literal(":status", "200")));
      }
    });
  });
  return { port: server.port, connections };
}

const head = headOf({ ":method": "POST", ":path": "/p" });
const response = Buffer.concat([literal(":status", "200"), literal("x-long", "l".repeat(60))]);

type Asked = {
  readonly caller: RawCaller;
  readonly at: () => AtOrigin | undefined;
  readonly stream: () => number;
};

/** One exchange, until `last` is done: each step waits until the engine has brought it to the other side, where it does. */
async function upTo(last: Step, under: Served, connections: readonly AtOrigin[]): Promise<Asked> {
  const known = new Map(connections.map((each) => [each, each.heads.length]));
  const at = (): AtOrigin | undefined => connections.find((each) => each.heads.length > (known.get(each) ?? 0));
  const stream = (): number => at()?.heads.at(-1) ?? assert.fail("the origin has no head");
  const asked = requestsOf(under).length;
  const caller = await RawCaller.open(under.port);
  const heard = (type: number): Promise<unknown> => caller.frame((each) => each.type === type && each.stream === 1);
  const data = (bytes: string, flags = 0): Buffer => frame(frameTypes.data, flags, 1, Buffer.from(bytes));
  const answers = (type: number, flags: number, payload: Uint8Array): void =>
    void at()?.socket.write(frame(type, flags, stream(), payload));
  const says: Readonly<Record<Step, () => Promise<unknown>>> = {
    "half-head": async () => {
      caller.socket.write(frame(frameTypes.headers, 0, 1, head.subarray(0, 10)));
      await caller.frame((each) => each.type === frameTypes.settings && (each.flags & 1) === 1);
    },
    head: async () => {
      caller.socket.write(frame(frameTypes.continuation, END_HEADERS, 1, head.subarray(10)));
      await until(() => requestsOf(under).length === asked + 1, "the request's head");
    },
    "half-body": async () => caller.socket.write(data("four")),
    body: async () => caller.socket.write(data("four", END_STREAM)),
    "origin-heard": () => until(() => at()?.bytes.get(stream()) === 8, "the request's body"),
    "half-response-head": async () => answers(frameTypes.headers, 0, response.subarray(0, 10)),
    "response-head": () => {
      answers(frameTypes.continuation, END_HEADERS, response.subarray(10));
      return heard(frameTypes.headers);
    },
    "half-response-body": () => {
      answers(frameTypes.data, 0, Buffer.from("four"));
      return heard(frameTypes.data);
    },
    response: async () => answers(frameTypes.data, END_STREAM, Buffer.from("four")),
  };
  for (const step of steps) {
    await says[step]();
    if (step === last) break;
  }
  return { caller, at, stream };
}

const requestsOf = ({ engine }: Served): RequestEvent[] => engine.events.filter((event) => event.type === "request");

function cut(cutter: Cutter, { caller, at, stream }: Asked, { engine }: Served): void {
  const accepted = engine.events.filter((event) => event.type === "accepted").at(-1);
  const { conn = 0, generation = 0 } = accepted ?? {};
  const there = at();
  const acts: Readonly<Record<Cutter, () => void>> = {
    "caller-stream": () => void caller.socket.write(frame(frameTypes.rstStream, 0, 1, CANCEL)),
    "caller-reset": () => void caller.socket.resetAndDestroy(),
    "caller-end": () => void caller.socket.end(),
    "origin-stream": () => there && void there.socket.write(frame(frameTypes.rstStream, 0, stream(), CANCEL)),
    "origin-goaway": () =>
      there && void there.socket.end(frame(frameTypes.goaway, 0, 0, Buffer.concat([u32(0), u32(2)]))),
    "origin-reset": () => void there?.socket.resetAndDestroy(),
    "origin-end": () => void there?.socket.end(),
    agent: () => void engine.engine.answer({ type: "close", conn, generation }),
    "agent-request": () => {
      const request = requestsOf({ engine } as Served).at(-1)?.request ?? 0;
      engine.engine.answer({ type: "reset", conn, generation, request });
    },
    "drop-origin": () => void engine.engine.dropOrigin(1),
  };
  acts[cutter]();
}

for (const way of ways)
  test(`${way}: a request of HTTP/2 that is cut, wherever and by any side, ends once and nothing of it is left`, async (context) => {
    const app = await origin();
    using under = serves(way, [app.port]);
    under.engine.events.length = 0;
    const outcomes = new Map<string, number>();
    for (const step of steps)
      for (const cutter of cutters) {
        const what = `${step} ${cutter}`;
        const [ended, closed, asked] = [endedOf(under).length, under.engine.closed().length, requestsOf(under).length];
        const exchange = await upTo(step, under, app.connections);
        if (cutter.startsWith("origin") && step !== "half-head")
          await until(() => exchange.at() !== undefined, `${what}: the request at its origin`);
        cut(cutter, exchange, under);
        // Behind what the caller has said. Of the origin's side the rest goes as soon as it has come.
        exchange.caller.socket.end();
        const isOver = (): boolean => {
          exchange.at()?.socket.destroy();
          return under.engine.closed().length === closed + 1;
        };
        await until(isOver, `${what}: the connection ends`);
        exchange.caller.socket.destroy();
        const hasHead = step !== "half-head";
        assert.equal(requestsOf(under).length - asked, hasHead ? 1 : 0, what);
        const ends = endedOf(under).slice(ended);
        // Of a head that breaks off the engine may say that it was refused.
        if (hasHead) assert.equal(ends.length, 1, what);
        for (const { outcome } of ends) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (cutter === "drop-origin") under.define();
        const next = await RawCaller.open(under.port);
        next.socket.write(frame(frameTypes.headers, END_HEADERS | END_STREAM, 1, headOf({})));
        const answered = await next.frame(({ type, stream }) => type === frameTypes.headers && stream === 1);
        assert.ok(answered?.payload.includes(STATUS_200), `${what}: the next caller`);
        next.socket.destroy();
        await until(() => under.engine.closed().length === closed + 2, `${what}: the next connection ends`);
      }
    context.diagnostic(JSON.stringify(Object.fromEntries(outcomes)));
    for (const outcome of ["answered", "reset-by-downstream", "reset-by-upstream", "cut"])
      assert.ok((outcomes.get(outcome) ?? 0) > 0, outcome);
    under.engine.engine.dropOrigin(1);
    await until(() => under.engine.engine.stats().connections === 0, "no connection is left");
    await until(() => under.engine.engine.stats().bufferBytes === 0, "no byte is left");
    assert.deepEqual(under.errors(), []);
  });
