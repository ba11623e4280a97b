// tests · a request that is cut at each point where somebody waits: by its caller, by its origin, by the agent. Whatever is cut, the request ends
// once, its connection ends once, nothing is left over, and the next caller is served.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEvent } from "../../agent/engine/events.ts";
import { type Step, steps } from "./exchange-steps.ts";
import { ask, endedOf, type Served, serves, ways } from "./origin-engine.ts";
import { serve } from "./support.ts";

const cutters = ["caller-reset", "caller-end", "origin-reset", "origin-end", "agent", "drop-origin"] as const;
type Cutter = (typeof cutters)[number];

const head = "POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n";
const response = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nresponse";
const bodyAt = response.length - 8;

/** One exchange, until `last` is done. Bytes go in with pauses, so that each piece is read by itself. */
async function upTo(last: Step, under: Served, origin: () => net.Socket | undefined): Promise<net.Socket> {
  const caller = net.connect({ port: under.port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  caller.on("error", () => {});
  caller.resume();
  await once(caller, "connect");
  const says: Readonly<Record<Step, () => void>> = {
    "half-head": () => void caller.write(head.slice(0, 20)),
    head: () => void caller.write(head.slice(20)),
    "half-body": () => void caller.write("four"),
    body: () => void caller.write("four"),
    "origin-heard": () => {},
    "half-response-head": () => void origin()?.write(response.slice(0, 10)),
    "response-head": () => void origin()?.write(response.slice(10, bodyAt)),
    "half-response-body": () => void origin()?.write(response.slice(bodyAt, bodyAt + 4)),
    response: () => void origin()?.write(response.slice(bodyAt + 4)),
  };
  for (const step of steps) {
    says[step]();
    await sleep(step === "origin-heard" ? 20 : 8);
    if (step === last) break;
  }
  return caller;
}

for (const way of ways) {
  test(`${way}: a request that is cut, wherever and by any side, ends once and nothing of it is left`, async (context) => {
    const app = await serve((socket) => {
      socket.setNoDelay(true);
      socket.on("data", (part) => {
        // The callers that come afterwards are answered at once.
        if (part.toString("latin1").startsWith("GET /after"))
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      });
      socket.on("end", () => socket.end());
    });
    using under = serves(way, [app.port]);
    const route = { of: 0 };
    under.engine.events.length = 0;
    const outcomes = new Map<string, number>();
    for (const step of steps) {
      for (const cutter of cutters) {
        const before = { ended: endedOf(under).length, closed: under.engine.closed().length };
        const known = app.connections.length;
        const at = `${step} ${cutter}`;
        const caller = await upTo(step, under, () => app.connections[known]);
        cut(cutter, caller, app.connections[known], under);
        await sleep(10);
        // What is left of both goes: by then all must have come to its end.
        caller.destroy();
        app.connections[known]?.destroy();
        await comesTrue(() => under.engine.closed().length === before.closed + 1, `${at}: the connection ends`);
        const requests = requestsOf(under).length - route.of;
        route.of += requests;
        const ends = endedOf(under).slice(before.ended);
        assert.equal(requests, step === "half-head" ? 0 : 1, at);
        if (step !== "half-head") assert.equal(ends.length, 1, at);
        for (const { outcome } of ends) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (cutter === "drop-origin") under.define();
        assert.equal((await ask(under.port, { agent: false, path: "/after" })).body, "ok", at);
        route.of += 1;
        await comesTrue(() => under.engine.closed().length === before.closed + 2, `${at}: the next connection ends`);
      }
    }
    context.diagnostic(JSON.stringify(Object.fromEntries(outcomes)));
    for (const outcome of ["answered", "reset-by-downstream", "reset-by-upstream", "cut"])
      assert.ok((outcomes.get(outcome) ?? 0) > 0, outcome);
    under.engine.engine.dropOrigin(1);
    await comesTrue(() => under.engine.engine.stats().connections === 0, "no connection is left");
    assert.equal(under.engine.engine.stats().bufferBytes, 0);
    assert.deepEqual(under.errors(), []);
  });
}

const requestsOf = ({ engine }: Served): RequestEvent[] => engine.events.filter((event) => event.type === "request");

function cut(cutter: Cutter, caller: net.Socket, origin: net.Socket | undefined, { engine }: Served): void {
  const accepted = engine.events.filter((event) => event.type === "accepted").at(-1);
  const acts: Readonly<Record<Cutter, () => void>> = {
    "caller-reset": () => caller.resetAndDestroy(),
    "caller-end": () => caller.end(),
    "origin-reset": () => origin?.resetAndDestroy(),
    "origin-end": () => origin?.end(),
    agent: () =>
      accepted && engine.engine.answer({ type: "close", conn: accepted.conn, generation: accepted.generation }),
    "drop-origin": () => engine.engine.dropOrigin(1),
  };
  acts[cutter]();
}

async function comesTrue(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    assert.ok(tries < 800, what);
    await sleep(10);
  }
}
