// test peers · h2spec judges the HBONE server: its cases as they are, and again with each request made a CONNECT. Beside it
// the control: Node's own HTTP/2 server.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { call } from "../../../demo/app/roles.ts";
import { appPorts } from "../../../demo/app/server.ts";
import { tail } from "../../box/process.ts";
import { differentCase, peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { openWorld } from "../support/world.ts";
import { answered, differences, type H2Difference, type Mode } from "./differences.ts";

type Outcome = {
  readonly id: string;
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly saw?: string;
  /** Unix time in milliseconds. */
  readonly began: number;
  readonly ended: number;
  /** Of each connection of a case that failed: the last frames of both ends, and how they ended. */
  readonly said?: readonly (readonly string[])[];
};

const HBONE_PORT = 15_008;
const CONTROL_PORT = 9200;
const LATE_PORT = 9201;
const HALF_OPEN_PORT = 8099;
const RUN_MS = 400_000;
const LEAST_CASES = 145;
/**
 * What these send comes behind the end of the client's half. On a CONNECT the greeter would end the other half then, so that on a busy
 * machine the stream might be closed before the frame comes, and the frame be passed over: half-open.ts ends nothing.
 */
const HALF_CLOSED: readonly string[] = ["http2/5.1/5", "http2/5.1/6", "http2/6.1/2"];
/** Of the server's log beside a case that failed: so many lines at most, and how long after the case. */
const LOG_LINES = 20;
const LOG_LATER_MS = 100;

const world = await openWorld();
after(() => world.close());
const { cluster, outside, roots } = world;
const api = cluster.pod("api");
const server = cluster.nodes.find(({ name }) => name === api.node) ?? assert.fail("api has no node");
const { certificate, key } = world.identity("web");
await startControl(CONTROL_PORT);
await startControl(LATE_PORT, "late");
const halfOpen = api.start([process.execPath, programOf("half-open.ts"), String(HALF_OPEN_PORT)]);
await halfOpen.line(20_000, (line) => line === "listening");

// Cases are declared when both servers have answered all of them: node:test ends a file once its cases are through.
const modes = ["generic", "connect"] as const;
const runs: { readonly mode: Mode; readonly ours: readonly Outcome[]; readonly theirs: readonly Outcome[] }[] = [];
const hbone = `${api.ip4}:${HBONE_PORT}`;
for (const mode of modes) {
  const again = mode === "connect" ? await judge(hbone, mode, HALF_CLOSED, HALF_OPEN_PORT) : [];
  const ours = (await judge(hbone, mode)).map((result) => again.find(({ id }) => id === result.id) ?? result);
  runs.push({ mode, ours, theirs: await judge(`127.0.0.1:${CONTROL_PORT}`, mode) });
}
// Its large frame would exceed the window of a server that has not answered yet (server.go, takeRoom).
const late = await judge(`127.0.0.1:${LATE_PORT}`, "connect", ["http2/4.2/1"]);
for (const { mode, ours, theirs } of runs) {
  const control = new Map(theirs.map(({ id, outcome }) => [id, outcome]));
  peerCase("h2spec", `${mode}: all cases ran`, () => {
    assert.ok(ours.length >= LEAST_CASES, `${ours.length} cases`);
    assert.deepEqual(ours.map(({ id }) => id).toSorted(), [...control.keys()].toSorted());
  });
  for (const result of ours) declare(mode, result, control.get(result.id) ?? "failed");
}
peerCase("h2spec", "a large DATA frame waits for the window that a late answer gives", () => {
  const [result, ...more] = late;
  assert.deepEqual([result?.id, result?.outcome, more], ["http2/4.2/1", "passed", []], JSON.stringify(late, null, 1));
});
peerCase("h2spec", "the server is healthy afterwards", async () => {
  const answered = await call(cluster.pod("web"), { host: api.ip4, port: appPorts.echo });
  assert.equal(answered.reply?.pod, "api", JSON.stringify(answered));
});

function programOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}

async function startControl(port: number, ...words: readonly string[]): Promise<void> {
  const files = [certificate, key, roots];
  const control = outside.start([process.execPath, programOf("control.ts"), String(port), ...files, ...words]);
  await control.line(20_000, (line) => line === "listening");
}

/**
 * The cases of h2spec against one server, in its order; all, or those that `cases` names. CONNECTs ask for the application at `port` of
 * the api: the greeter speaks first, so that there is data to look at, and ends when its client does.
 */
async function judge(
  address: string,
  mode: Mode,
  cases: readonly string[] = [],
  port: number = appPorts.greeter,
): Promise<readonly Outcome[]> {
  const program = path.join(built("h2spec"), "bin/h2spec");
  const authority = mode === "connect" ? [`${api.ip4}:${port}`] : [];
  const done = await outside.run([program, address, certificate, key, mode, ...authority, ...cases], RUN_MS);
  if (done.status !== 0) throw new Error(`h2spec ended with ${done.status}: ${tail(done.stderr)}`);
  const lines = done.stdout.trim().split("\n");
  return lines.map((line) => JSON.parse(line) as Outcome);
}

/**
 * The case saw our 400, or the RST_STREAM without error behind it, and then nothing: the stream was closed before the case's own frame
 * came. Which is first is chance, and more often the 400 on a busy machine.
 */
function isOvertaken({ outcome, saw }: Outcome): boolean {
  return (
    outcome === "failed" &&
    /(?:^|\s)(?:HEADERS Frame \(length:\d+, flags:0x05,|RST_STREAM Frame \(length:4,)[^)]*\)\s*$/.test(saw ?? "")
  );
}

/** On a stream that stays open, the same case passed or is a difference of its own: what the 400 overtook has been judged there. */
function isJudgedOnConnect(id: string): boolean {
  const sameCase = runs.find(({ mode }) => mode === "connect")?.ours.find((result) => result.id === id);
  return sameCase?.outcome === "passed" || (differences[id]?.modes.includes("connect") ?? false);
}

/** What explains a case that failed: the frames of its connections, and what the server's node logged of them and meanwhile. */
function surroundings({ began, ended, said = [] }: Outcome): string {
  const connections = said.flatMap((words, i) => [`connection ${i + 1}:`, ...words]);
  const addresses = said.flat().flatMap((word) => / connected from (\S+)$/.exec(word)?.[1] ?? []);
  const access = readFileSync(server.accessLog, "utf8").split("\n");
  const closed = access.filter((line) => addresses.some((address) => line.includes(`src.addr=${address} `)));
  const { stdout = "", stderr = "" } = world.programs.get(server.name) ?? {};
  // A line without a time is Node's own, a sanitizer's, or says how a program died.
  const logged = `${stdout}\n${stderr}`.split("\n").filter((line) => {
    const at = Date.parse(/\d{4}-\d\d-\d\dT[\d:.]+Z/.exec(line)?.[0] ?? "");
    return line !== "" && !(at < began || at > ended + LOG_LATER_MS);
  });
  return [...connections, `${server.name}:`, ...closed, ...logged.slice(0, LOG_LINES)].join("\n  ");
}

function differenceOf(mode: Mode, result: Outcome): H2Difference | undefined {
  const known = differences[result.id];
  if (known?.modes.includes(mode)) return known.sometimes && result.outcome === "passed" ? undefined : known;
  return mode === "generic" && isOvertaken(result) && isJudgedOnConnect(result.id) ? answered : undefined;
}

function declare(mode: Mode, result: Outcome, control: Outcome["outcome"]): void {
  const { id, name, outcome, saw } = result;
  const passes = (): void => {
    if (outcome !== "passed") assert.fail(`${name}: ${saw?.replaceAll("\n", ", ")}\n${surroundings(result)}`);
  };
  const difference = differenceOf(mode, result);
  if (difference === undefined) {
    peerCase("h2spec", `${mode}: ${id}`, passes);
    return;
  }
  const described = { ...difference, control: `Node's http2 server: ${control}` };
  differentCase("h2spec", `${mode}: ${id}`, described, passes);
  if (difference.sometimes) return;
  const [does, expected] = difference.controlPasses ? ["passes", "passed"] : ["does the same", outcome];
  peerCase("h2spec", `${mode}: ${id}: the control ${does}`, () => assert.equal(control, expected));
}
