// demo · scenarios of requests of HTTP/1.1: each is judged for itself, across nodes and on one node, and what is no HTTP beside them.

import type { Heard } from "../app/http-caller.ts";
import { Client } from "../app/http-client.ts";
import { call } from "../app/roles.ts";
import { type DemoBox, expect, logSince } from "../mesh/mesh-box.ts";
import { httpPort } from "../mesh/mesh-file.ts";
import { until } from "../mesh/mesh-run.ts";
import type { Scenario } from "./scenario.ts";

const ECHO = 8080;
const START_MS = 60_000;
const FORBIDDEN = "RBAC: access denied";
/** Across nodes, and on one node. */
const servers = ["ledger", "books"] as const;

async function allowed(box: DemoBox): Promise<string> {
  for (const name of servers) {
    const client = new Client(box.pod("web"), { host: box.pod(name).ip4, port: httpPort });
    const heard = await client.ask("GET", "/accounts/7?full=1");
    client.end();
    expect(heard, `${name} to answer`, heard.status === 200 && heard.body?.includes("/accounts/7?full=1") === true);
  }
  return `GET /accounts/7 is answered by ${servers.join(" across nodes, and by ")} on one node`;
}

async function refused(box: DemoBox): Promise<string> {
  for (const name of servers) {
    const log = logSince(box.nodeOf(name));
    const client = new Client(box.pod("web"), { host: box.pod(name).ip4, port: httpPort });
    const heard = await client.ask("POST", "/accounts/7");
    const next = await client.ask("GET", "/accounts/7");
    client.end();
    expect(heard, "403", heard.status === 403 && heard.body === FORBIDDEN);
    expect(next, "the connection to go on", next.status === 200 && next.from === heard.from);
    const entry = await log.find(
      "the request",
      (line) => line.message === "request complete" && line.method === "POST",
    );
    expect(entry, "why it was refused", entry.reason === "no-allow-matched");
  }
  const node = box.nodeOf("ledger");
  const asked = ["demo/web", `demo/ledger:${httpPort}`, "--method", "POST", "--path", "/accounts/7"];
  const { stdout, stderr } = await node
    .orlop(["explain", ...asked, "--expect", "deny", "--socket", `${node.runDir}/agent.sock`])
    .wait(START_MS);
  const [miss] = /nearest miss: demo\/readers\[0\] wants operation\.methods .*\.yaml:\d+:\d+\)/.exec(stdout) ?? [];
  expect(`${stdout}${stderr}`, "orlop explain to name the rule and its line", miss !== undefined);
  return `403 on both; orlop explain: ${miss.replace(box.cluster.dir, ".")}`;
}

async function flipped(box: DemoBox): Promise<string> {
  const client = new Client(box.pod("web"), { host: box.pod("ledger").ip4, port: httpPort });
  const first = await client.ask("GET", "/accounts/7");
  expect(first, "an answer", first.status === 200);
  const becomes = (status: number): Promise<Heard> =>
    until(`status ${status} on the same connection`, 20_000, async () => {
      const heard = await client.ask("GET", "/accounts/7");
      expect(heard, "the same connection", heard.from === first.from);
      return heard.status === status ? heard : undefined;
    });
  await box.with({ readable: ["/statements/*"] }, async () => {
    await becomes(403);
  });
  await becomes(200);
  client.end();
  return `200, 403 once the file was written, 200 once it was written back: all from port ${first.from}`;
}

async function opaque(box: DemoBox): Promise<string> {
  const [web, ledger] = [box.pod("web"), box.pod("ledger")];
  const beside = await call(web, { host: ledger.ip4, port: ECHO });
  expect(beside, "an answer on a port that no such rule names", beside.reply?.pod === "ledger");
  const log = logSince(box.nodeOf("ledger"));
  const ended = await call(web, { host: ledger.ip4, port: httpPort }, "no HTTP");
  expect(ended, "no answer", ended.reply === undefined);
  const entry = await log.find("the end", (line) => line.error?.startsWith("not-http") === true);
  return `port ${ECHO} echoes; port ${httpPort} ends: ${entry.error}`;
}

export const requestScenarios: readonly Scenario[] = [
  { name: "request allowed by method and path", run: allowed },
  { name: "request denied: 403, and why", run: refused },
  { name: "policy flip on a connection that is kept", run: flipped },
  { name: "what is no HTTP, beside and instead", run: opaque },
];
