// demo · scenarios in time: policy, certificate, agent and enrolment change while traffic runs.
import { setTimeout as sleep } from "node:timers/promises";
import type { ChurnResult } from "../app/client.ts";
import { call, startChurn, startPing } from "../app/roles.ts";
import { type DemoBox, expect, serialsOf } from "../mesh/mesh-box.ts";
import { identityOf } from "../mesh/mesh-file.ts";
import { pidOf, readiness, until } from "../mesh/mesh-run.ts";
import { startCapture } from "../wire/capture.ts";
import { readWire } from "../wire/wire.ts";
import type { Scenario } from "./scenario.ts";

const ECHO = 8080;
const ONCE = 8084;
const PARALLEL = 8;
const SECRET = "under-load-only";

async function policyFlip(box: DemoBox): Promise<string> {
  const [web, vault] = [box.pod("web"), { host: box.pod("vault").ip4, port: ECHO }];
  const pinger = await startPing(web, vault, 5);
  let ended = "";
  await box.with({ vaultCallers: ["nobody"] }, async (writtenAt) => {
    const event = await pinger.dead(20_000);
    ended = `${event.how} ${Math.round(event.atMs - writtenAt)} ms after the file was written`;
    const again = await call(web, vault);
    expect(again, "a new call to be denied", again.reply === undefined);
  });
  await until("web allowed again", 20_000, async () => ((await call(web, vault)).reply ? true : undefined));
  return `${ended}; allowed again when written back`;
}

async function rotation(box: DemoBox): Promise<string> {
  const { pinger, serials } = box.rotation;
  const wanted = [`node-a ${identityOf("web")}`, `node-b ${identityOf("api")}`];
  // Half of the lifetime, and the jitter around it.
  const now = await until("new certificates of web and api", 50_000, async () => {
    const current = await serialsOf(box.cluster);
    return wanted.every((key) => current.has(key) && current.get(key) !== serials.get(key)) ? current : undefined;
  });
  const after = await call(box.pod("web"), { host: box.pod("api").ip4, port: ECHO });
  expect(after, "an answer of api", after.reply?.pod === "api");
  const summary = await pinger.finish();
  const change = wanted.map((key) => `${serials.get(key)?.slice(0, 8)} → ${now.get(key)?.slice(0, 8)}`);
  return `serials ${change.join(", ")}; ${summary.replies} answers on one connection, longest gap ${summary.longestGapMs} ms`;
}

async function agentKilled(box: DemoBox): Promise<string> {
  const capture = await startCapture(box.cluster);
  const churn = startChurn(box.pod("web"), { host: box.pod("vault").ip4, port: ONCE }, PARALLEL, SECRET);
  const away: { from: number; to: number; backMs: number }[] = [];
  await sleep(500);
  for (const node of box.cluster.nodes) {
    const pid = pidOf(node, "agent");
    expect(pid, `an agent on ${node.name}`, pid !== undefined);
    const from = performance.timeOrigin + performance.now();
    process.kill(pid, "SIGKILL");
    await until(`the end of agent ${pid}`, 30_000, () => (pidOf(node, "agent") === pid ? undefined : true));
    const to = performance.timeOrigin + performance.now();
    await until(`a new agent on ${node.name}`, 30_000, () => pidOf(node, "agent"));
    await until(`readiness of ${node.name}`, 30_000, async () =>
      (await readiness(node)) === "ready" ? true : undefined,
    );
    away.push({ from, to, backMs: Math.round(performance.timeOrigin + performance.now() - from) });
    await sleep(500);
  }
  const result = await churn.finish();
  const reading = readWire(await capture.stop(), box.meshAddresses(), [SECRET]);
  requireUnbroken(result);
  // What had been accepted by the killed agent is lost with it; a connection that was not open then must not be.
  const notOpen = result.cutBegan.filter((began, at) => {
    const endedAt = began + (result.cutAfterMs[at] ?? 0);
    return !away.some(({ from, to }) => began <= to && endedAt >= from);
  });
  expect({ ...result, notOpen }, "no connection to be cut that was not open at a kill", notOpen.length === 0);
  return (
    `${away.length} kills, back after ${away.map(({ backMs }) => `${backMs} ms`).join(" and ")}: ${result.answered} of ` +
    `${result.attempted} answered, 0 refused, ${result.cut} cut in flight, slowest ${Math.round(result.slowestMs)} ms; ` +
    `0 plaintext bytes in ${reading.meshPackets} packets`
  );
}

async function reEnrolled(box: DemoBox): Promise<string> {
  const [api, vault] = [box.pod("api"), { host: box.pod("vault").ip4, port: ECHO }];
  const churn = startChurn(api, { host: box.pod("cache").ip4, port: ONCE }, PARALLEL, "in-or-out");
  await sleep(300);
  const optedOut = new Set([...box.state.optedOut, "api"]);
  await box.with({ optedOut }, async () => {
    await box.captured("api", "not-enrolled");
    const bare = await call(api, vault);
    expect(bare, "vault to refuse the pod without identity", bare.error === "ECONNREFUSED");
    await sleep(300);
  });
  await box.captured("api", "captured");
  const back = await call(box.pod("web"), { host: api.ip4, port: ECHO });
  expect(back, "api to answer as part of the mesh again", back.reply?.pod === "api");
  await sleep(300);
  const result = await churn.finish();
  requireUnbroken(result);
  expect(result, "no connection to be cut", result.cut === 0);
  return `${result.answered} of ${result.attempted} connections answered across both changes, 0 refused, 0 cut`;
}

function requireUnbroken(result: ChurnResult): void {
  expect(result, "some connections", result.answered > 100);
  expect(result, "no connection refused", result.refused === 0);
  expect(result, "no connection unanswered", result.timedOut === 0 && Object.keys(result.other).length === 0);
}

export const lifeScenarios: readonly Scenario[] = [
  { name: "policy flip ends a live connection", run: policyFlip },
  { name: "un-enrolled and enrolled again under traffic", run: reEnrolled },
  { name: "certificate rotates under traffic", run: rotation },
  { name: "agent killed (-9) under load", run: agentKilled },
];
