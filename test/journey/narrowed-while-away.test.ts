// Policy is narrowed while an agent, a keeper or both are away: what only the kernel carries ends when their successors are
// there, at both ends; and what is still allowed goes on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { pidOf, readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { initial, isJoined, joinedMesh, joinedNodes } from "../support/joined-mesh.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const ECHO = 8080;
/** A mesh that takes a new agent longer to read than its keeper takes to welcome it. */
const ELSEWHERE = 200;
type Program = "agent" | "keeper";
let journey: Journey;

const elsewhere = Array.from(
  { length: ELSEWHERE },
  (_, at) => `---
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: elsewhere-${at}, namespace: other, uid: elsewhere-${at}}
spec: {addresses: ["10.200.${at >> 6}.${(at & 63) + 1}"], node: node-z, serviceAccount: elsewhere}
`,
).join("");
const meshOf = (callers: readonly string[]): string => `${joinedMesh(journey.cluster, { callers })}${elsewhere}`;

before(async () => {
  journey = await startJourney({ nodes: joinedNodes }, (cluster) => `${joinedMesh(cluster, initial)}${elsewhere}`);
  await untilJoined();
});
after(() => journey?.close());

const node = () => journey.cluster.node("node-a");
const pod = (name: string) => journey.cluster.pod(name);
const toServer = (from: string) => call(pod(from), { host: pod("server").ip4, port: ECHO });
const untilJoined = (): Promise<true> =>
  until("a joined connection", 10_000, async () => (isJoined(await toServer("client")) ? true : undefined));

async function write(text: string): Promise<void> {
  const before = (await view(node(), "status")).source.appliedAt;
  journey.cluster.writeMesh(text);
  await until("the new configuration", 10_000, async () =>
    (await view(node(), "status")).source.appliedAt === before ? undefined : true,
  );
}

/** The file changes and `programs` die before any of them has read it; resolves when others serve. */
async function narrowWithout(programs: readonly Program[], text: string): Promise<void> {
  const pids = programs.map((program) => pidOf(node(), program) ?? 0);
  journey.cluster.writeMesh(text);
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await until("their successors", 30_000, async () => {
    const alive = programs.every((program, at) => ![0, pids[at]].includes(pidOf(node(), program) ?? 0));
    if (!alive || (await readiness(node())) !== "ready") return undefined;
    const { captured, wanted } = (await view(node(), "status")).pods;
    return captured === wanted ? true : undefined;
  });
}

for (const programs of [["agent"], ["keeper"], ["agent", "keeper"]] as const) {
  test(`narrowed without ${programs.join(" and ")}: joined connections end, those that are allowed do not`, async () => {
    await write(meshOf(["client", "stranger"]));
    await until("stranger joined, too", 10_000, async () => (isJoined(await toServer("stranger")) ? true : undefined));
    const four = await startPing(pod("client"), { host: pod("server").ip4, port: ECHO }, 20);
    const six = await startPing(pod("client"), { host: pod("twin").ip6, port: ECHO }, 20);
    const allowed = await startPing(pod("stranger"), { host: pod("server").ip4, port: ECHO }, 20);
    await narrowWithout(programs, meshOf(["stranger"]));
    for (const ping of [four, six]) await ping.dead(20_000);
    assert.equal((await toServer("client")).reply, undefined);
    await allowed.finish();
    await write(meshOf(initial.callers));
    await untilJoined();
  });
}
