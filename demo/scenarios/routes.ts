// demo · scenarios of requests to a Service with a route, and of a limit on those who serve them.

import { fileURLToPath } from "node:url";
import type { Heard } from "../app/http-caller.ts";
import { Client } from "../app/http-client.ts";
import type { Load } from "../app/http-load.ts";
import { type DemoBox, expect } from "../mesh/mesh-box.ts";
import { accountsService, greeterService, httpPort, narrowPool } from "../mesh/mesh-file.ts";
import { until } from "../mesh/mesh-run.ts";
import type { Scenario } from "./scenario.ts";

const httpLoad = fileURLToPath(new URL("../app/http-load.ts", import.meta.url));
const grpcCaller = fileURLToPath(new URL("../../test/support/grpc-caller.ts", import.meta.url));
/** Until a program in a pod has started. */
const START_MS = 60_000;
const PATH = "/accounts/7";
/** Of so many requests a tenth is 40 ± 6: further away than five times that is no chance. */
const ASKED = 400;
const FEWEST = 10;
const MOST = 70;
/** Of so many requests a half is 50 ± 5; of the fewest, on a busy machine, 16 ± 2.8. Further away than five times that is no chance. */
const FAULTY = 100;
const FEWEST_FAULTY = 32;

type LoadAsked = {
  readonly path: string;
  readonly lastsMs: number;
  readonly connections: number;
  readonly header?: readonly string[];
};

const toAccounts = (box: DemoBox): Client =>
  new Client(box.pod("web"), { host: accountsService.ip4, port: accountsService.port });
const podOf = ({ body = "{}" }: Heard): string => (JSON.parse(body) as { readonly pod?: string }).pod ?? "";

async function byHeader(box: DemoBox): Promise<string> {
  const client = toAccounts(box);
  for (let nth = 0; nth < 20; nth++) {
    const heard = await client.ask("GET", PATH, { "x-tester": "yes" });
    expect(heard, "books to answer a tester", heard.status === 200 && podOf(heard) === "books");
  }
  client.end();
  return "20 of 20 requests with x-tester: yes are answered by books";
}

async function byWeight(box: DemoBox): Promise<string> {
  const client = toAccounts(box);
  let books = 0;
  for (let nth = 0; nth < ASKED; nth++) {
    const heard = await client.ask("GET", PATH);
    expect(heard, "an answer", heard.status === 200);
    if (podOf(heard) === "books") books++;
  }
  client.end();
  expect(books, `${FEWEST} to ${MOST} of ${ASKED} at books`, books >= FEWEST && books <= MOST);
  return `of ${ASKED} requests on one connection ${ASKED - books} were answered by ledger across nodes, ${books} by books on this node`;
}

type Said = { readonly nth: number };

async function hidden(box: DemoBox): Promise<string> {
  const client = toAccounts(box);
  let nth = 0;
  for (let answered = 0; answered < 100; answered++) {
    const heard = await client.ask("GET", "/accounts/flaky");
    expect(heard, "ledger to answer", heard.status === 200 && podOf(heard) === "ledger");
    ({ nth } = JSON.parse(heard.body ?? "{}") as Said);
  }
  client.end();
  expect(nth, "each tenth of what ledger got to be tried again", nth === 111);
  return `100 of 100 requests are answered 200, of the ${nth} that ledger got each tenth failed`;
}

/** Four requests fail at ledger: three open the breaker, and the fourth is the first probe. */
async function broken(box: DemoBox): Promise<string> {
  const client = toAccounts(box);
  const failed: number[] = [];
  let atOnce = 0;
  const served = await until("ledger to serve again", 20_000, async () => {
    const heard = await client.ask("GET", "/accounts/broken");
    if (heard.status === 200) return JSON.parse(heard.body ?? "{}") as Said;
    expect(heard, "503", heard.status === 503);
    if (heard.body?.startsWith("{")) failed.push((JSON.parse(heard.body) as Said).nth);
    else atOnce++;
    return undefined;
  });
  client.end();
  expect(failed, "ledger to get four requests that fail", failed.join() === "1,2,3,4");
  expect(served, "the next to be served", served.nth === 5);
  expect(atOnce, "requests that are answered without ledger", atOnce > 0);
  return `open behind 3 failures, ${atOnce} requests answered 503 without ledger; the first probe fails, the second closes it`;
}

/** It holds from a moment after the file has it, and as long as it says, however long the file has it. */
async function faulty(box: DemoBox): Promise<string> {
  const LASTS_MS = 10_000;
  const client = toAccounts(box);
  const isFailed = async (): Promise<boolean> => (await client.ask("GET", PATH)).status === 503;
  const ended = Date.now() + LASTS_MS;
  const fault = { abort: { status: 503, percent: 50 }, expires: new Date(ended).toISOString() };
  let [asked, failed] = [0, 0];
  await box.with({ fault }, async () => {
    await until("the fault", LASTS_MS, async () => ((await isFailed()) ? true : undefined));
    while (asked < FAULTY) {
      const hasFailed = await isFailed();
      // The last may have found the fault's end.
      if (Date.now() >= ended) break;
      asked++;
      if (hasFailed) failed++;
    }
    const isHalf = asked >= FEWEST_FAULTY && Math.abs(failed - asked / 2) < 2.5 * Math.sqrt(asked);
    expect({ asked, failed }, "about a half to fail", isHalf);
    await until("its end", 2 * LASTS_MS, () => (Date.now() > ended ? true : undefined));
    for (let nth = 0; nth < FAULTY; nth++) expect(nth, "an answer behind its end", !(await isFailed()));
  });
  client.end();
  return `of ${asked} requests ${failed} were answered 503, as the fault of the route says, and none of ${FAULTY} behind its end`;
}

/** `books` counts what it gets: its own node's caller asks it directly how much that was. */
async function mirrored(box: DemoBox): Promise<string> {
  const COPIED = 50;
  const client = toAccounts(box);
  for (let nth = 0; nth < COPIED; nth++) {
    const heard = await client.ask("GET", "/accounts/mirrored");
    expect(heard, "ledger to answer", heard.status === 200 && podOf(heard) === "ledger");
  }
  client.end();
  const direct = new Client(box.pod("web"), { host: box.pod("books").ip4, port: httpPort });
  let asked = 0;
  const got = await until("the copies at books", 10_000, async () => {
    const heard = await direct.ask("GET", "/accounts/mirrored");
    asked++;
    const { nth: counted } = JSON.parse(heard.body ?? "{}") as Said;
    return counted - asked >= COPIED ? counted - asked : undefined;
  });
  direct.end();
  expect(got, "no more of them than requests", got === COPIED);
  return `${COPIED} of ${COPIED} requests are answered by ledger, and books got a copy of each`;
}

type Called = { readonly name?: string; readonly grpcStatus?: string };

async function byMethod(box: DemoBox): Promise<string> {
  const caller = box.pod("web").start([process.execPath, grpcCaller, greeterService.ip4, String(greeterService.port)]);
  const said: string[] = [];
  for (const path of ["/demo.Greeter/Hello", "/demo.Greeter/Goodbye", "/demo.Other/Hello"]) {
    caller.write(`${JSON.stringify({ path, isGrpc: true })}\n`);
    const heard = JSON.parse(await caller.line(START_MS, (line) => line.startsWith("{"))) as Called;
    said.push(`${heard.name ?? "nobody"} ${heard.grpcStatus}`);
  }
  caller.endInput();
  expect(said, "ledger, books, and UNIMPLEMENTED", said.join() === "ledger 0,books 0,nobody 12");
  return "Greeter/Hello is answered by ledger, Greeter/Goodbye by books, and another service is UNIMPLEMENTED";
}

/** Each of two callers has its own count. */
async function limited(box: DemoBox): Promise<string> {
  const LIMIT = 5;
  let passed = 0;
  await box.with({ limit: { requests: LIMIT, per: "minute", burst: LIMIT } }, async () => {
    const client = toAccounts(box);
    const over = await until("the limit", 10_000, async () => {
      const heard = await client.ask("GET", PATH, { "x-tester": "yes" });
      if (heard.status === 200) passed++;
      return heard.status === 429 ? heard : undefined;
    });
    expect(over, "the agent to answer", over.body?.startsWith("{") === false);
    client.end();
    const other = new Client(box.pod("batch"), { host: accountsService.ip4, port: accountsService.port });
    const heard = await other.ask("GET", PATH, { "x-tester": "yes" });
    other.end();
    expect(heard, "another caller to be answered", heard.status === 200);
  });
  expect(passed, `${LIMIT} requests to pass at least`, passed >= LIMIT);
  return `429 for web behind ${LIMIT} requests of a minute, while batch is answered`;
}

/** Many callers at once in a pod. */
async function loadOf(box: DemoBox, { path, lastsMs, connections, header = [] }: LoadAsked): Promise<Load> {
  const words = [accountsService.ip4, accountsService.port, path, lastsMs, connections, ...header].map(String);
  const { stdout, stderr } = await box.pod("web").run([process.execPath, httpLoad, ...words], START_MS + lastsMs);
  expect(stderr, "a caller without errors", stderr === "");
  return JSON.parse(stdout) as Load;
}

/** A slow endpoint keeps as many waiting as its rule says, and nobody else. */
async function pooled(box: DemoBox): Promise<string> {
  const { connections, waiting } = narrowPool;
  const seen = await loadOf(box, { path: "/accounts/slow", lastsMs: 100, connections: 12 });
  const { admitted, overloaded, refused, other } = seen;
  // Who waits for a connection to open counts, too.
  expect(seen, `${waiting} to be served at least`, admitted >= waiting);
  expect(seen, "others to be refused", overloaded > 0 && refused + other === 0);
  const direct = new Client(box.pod("web"), { host: box.pod("ledger").ip4, port: httpPort });
  const { most } = JSON.parse((await direct.ask("GET", "/accounts/9")).body ?? "{}") as { readonly most?: number };
  direct.end();
  expect(most, `${connections} requests at once at ledger`, most === connections);
  return `of ${admitted + overloaded} requests of 12 callers ${admitted} were served, ${connections} at once and ${waiting} waiting at most; ${overloaded} at once 503, x-envoy-overloaded`;
}

/** The bound holds however slow the machine is: the caller measures a time that is longer than the limit's. */
async function manyASecond(box: DemoBox): Promise<string> {
  const [RATE, BURST, LASTS_MS, CONNECTIONS] = [100, 20, 3_000, 16];
  const load = (lastsMs: number): Promise<Load> =>
    loadOf(box, { path: PATH, lastsMs, connections: CONNECTIONS, header: ["x-tester=yes"] });
  let seen: Load | undefined;
  await box.with({ limit: { requests: RATE, per: "second", burst: BURST } }, async () => {
    await until("the limit", 20_000, async () => ((await load(500)).refused > 0 ? true : undefined));
    seen = await load(LASTS_MS);
  });
  expect(seen, "a measurement", seen !== undefined);
  const { seconds, admitted, refused, unsaid, other } = seen;
  const most = Math.floor((RATE * seconds + BURST) * 1.02);
  expect(seen, `${most} requests to pass at most`, admitted <= most);
  expect(seen, "429 with Retry-After for all others", refused > 0 && unsaid === 0 && other === 0);
  return `of ${admitted + refused} requests in ${seconds.toFixed(1)} s ${admitted} passed, ${most} at most; all others 429 with Retry-After`;
}

export const routeScenarios: readonly Scenario[] = [
  { name: "route by a header", run: byHeader },
  { name: "route by weight, 90 to 10", run: byWeight },
  { name: "call of gRPC, by its method", run: byMethod },
  { name: "retry that hides a tenth of failures", run: hidden },
  { name: "breaker that opens and probes", run: broken },
  { name: "connections to a slow endpoint, and who may wait for them", run: pooled },
  { name: "mirror to another Service", run: mirrored },
  { name: "fault for half of the requests, until it expires", run: faulty },
  { name: "limit of requests, by caller", run: limited },
  { name: "limit of 100 requests a second", run: manyASecond },
];
