// tests · ten endpoints, of which a single one is ten times as slow as the others, and another fails: with real sockets, engines and data threads, both
// have next to no requests from two seconds on. Each thread learns for itself what endpoints cost, so with more threads each sees less.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type net from "node:net";
import test from "node:test";
import { Worker } from "node:worker_threads";
import { newSharedState } from "../../agent/traffic/shared-state.ts";
import type { SharesThread } from "./shares-thread.ts";
import { closedAtEnd } from "./support.ts";

const ENDPOINTS = 10;
const SLOW = 3;
const FAILING = 7;
const FAST_MS = 20;
/** What a request takes on a machine of its own, at most. */
const QUIET_MS = 30;
const LEARNS_MS = 2_000;
const COUNTED = 5_000;
/** Enough that an endpoint has two at once now and then. */
const CALLERS = 16;

/** `fastMs`: what a request to another endpoint takes by now, on a machine that others use, too. */
type Origins = { readonly endpoints: SharesThread["endpoints"]; readonly got: number[]; fastMs: number };

/** A single endpoint is slow, and another answers 500 at once. */
async function origins(): Promise<Origins> {
  const got: number[] = Array.from({ length: ENDPOINTS }, () => 0);
  const endpoints: { address: string; port: number }[] = [];
  const all: Origins = { endpoints, got, fastMs: FAST_MS };
  for (let nth = 0; nth < ENDPOINTS; nth++) {
    const server = http.createServer((_, response) => {
      got[nth] = (got[nth] ?? 0) + 1;
      if (nth === FAILING) return response.writeHead(500).end();
      if (nth !== SLOW) response.setHeader("x-fast", "yes");
      return setTimeout(() => response.end("ok"), nth === SLOW ? 10 * all.fastMs : FAST_MS);
    });
    server.keepAliveTimeout = 60_000;
    closedAtEnd({ close: () => server.close().closeAllConnections() });
    const address = `127.0.1.${nth + 1}`;
    await once(server.listen(0, address), "listening");
    endpoints.push({ address, port: (server.address() as net.AddressInfo).port });
  }
  return all;
}

async function dataThreads(threads: number, endpoints: SharesThread["endpoints"]): Promise<readonly number[]> {
  const shared = newSharedState(threads);
  const started = Array.from({ length: threads }, async (_, thread) => {
    const data: SharesThread = { thread, threads, shared, endpoints };
    const worker = new Worker(new URL("./shares-thread.ts", import.meta.url), { workerData: data });
    closedAtEnd({ close: () => worker.postMessage("close") });
    const [port] = (await once(worker, "message")) as [number];
    return port;
  });
  return Promise.all(started);
}

/** Each caller asks again as soon as it is answered, until `isOver`. */
async function callUntil(
  ports: readonly number[],
  callers: number,
  { agent, all }: { readonly agent: http.Agent; readonly all: Origins },
  isOver: () => boolean,
): Promise<void> {
  const call = async (port: number): Promise<void> => {
    while (!isOver()) {
      const began = performance.now();
      const request = http.get({ host: "127.0.0.1", port, agent });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      response.resume();
      await once(response, "end");
      if (response.headers["x-fast"] === "yes") all.fastMs += (performance.now() - began - all.fastMs) / 50;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, nth) => call(ports[nth % ports.length] ?? 0)));
}

for (const { threads, callers, counted } of [
  { threads: 1, callers: CALLERS, counted: COUNTED },
  { threads: 2, callers: CALLERS, counted: COUNTED },
  { threads: 4, callers: CALLERS, counted: COUNTED },
  // Each thread has some 40 requests a second.
  { threads: 4, callers: 4, counted: 1_500 },
])
  test(`${threads} data threads, ${callers} callers: of ten endpoints the slow one has 2 % at most from two seconds on, the failing one 1 %`, async (context) => {
    const all = await origins();
    const { endpoints, got } = all;
    const ports = await dataThreads(threads, endpoints);
    const agent = new http.Agent({ keepAlive: true });
    const by = { agent, all };
    const total = (): number => got.reduce((sum, count) => sum + count, 0);
    /** Requests of the callers in so many milliseconds, on a machine of its own. */
    const quietly = (ms: number): number => (callers * ms) / QUIET_MS;
    const learnt = performance.now() + LEARNS_MS;
    await callUntil(ports, callers, by, () => performance.now() >= learnt && total() >= quietly(LEARNS_MS));
    const [first, before, began] = [[...got], total(), performance.now()];
    await callUntil(ports, callers, by, () => total() - before >= counted);
    agent.destroy();
    // What is known of an endpoint fades with time, and not with requests: on a machine that others use it is tried again as often a minute.
    const sinceThen = Math.max(total() - before, quietly(performance.now() - began));
    const share = (nth: number): number => ((got[nth] ?? 0) - (first[nth] ?? 0)) / sinceThen;
    const percent = (part: number): string => `${(100 * part).toFixed(2)} %`;
    context.diagnostic(
      `first ${percent((first[SLOW] ?? 0) / before)} and ${percent((first[FAILING] ?? 0) / before)} of ${before}, then ${percent(share(SLOW))} and ${percent(share(FAILING))} of ${Math.round(sinceThen)}; ${Math.round(all.fastMs)} ms`,
    );
    assert.ok(share(SLOW) <= 0.02, percent(share(SLOW)));
    assert.ok(share(FAILING) <= 0.01, percent(share(FAILING)));
    // Nobody else is left out.
    for (const [nth, count] of got.entries())
      assert.ok(nth === SLOW || nth === FAILING || count > total() / 50, `${count} of ${total()} at endpoint ${nth}`);
  });
