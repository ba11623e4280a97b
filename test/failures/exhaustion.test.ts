// Table A of docs/reference/failures.md, on a whole mesh: peers that hold what they do not use (A12), descriptors that run out (A13).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Node, orlopMain } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { openMany } from "../support/many.ts";

const ECHO = 8080;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

/** One metric of the node's agent, summed over its labels; 0 while nothing was counted. */
async function metric(node: Node, name: string): Promise<number> {
  const ask = 'exec 3<> /dev/tcp/127.0.0.1/15020 && printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3';
  const { stdout } = await node.run(["bash", "--norc", "-c", ask]);
  const lines = stdout.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  assert.ok(stdout.includes(`# TYPE ${name} `), `${name} is among the metrics: ${stdout.slice(0, 200)}`);
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test("A12 a thousand peers that say nothing at 15008: most are turned away, the rest are let go, a bystander goes on", async (t) => {
  const { cluster } = journey;
  const vault = cluster.pod("vault");
  const bystander = await startPing(cluster.pod("web"), { host: vault.ip4, port: ECHO }, 20);
  const silent = await openMany(cluster.outside, { host: vault.ip4, port: 15_008 }, 1_000, "silent");
  // Those beyond what one address may hold end at once, the others at the deadline of the handshake.
  const end = await silent.allDead(60_000);
  t.diagnostic(JSON.stringify({ up: silent.up, end }));
  assert.equal(end.alive, 0);
  const { longestGapMs } = await bystander.finish();
  t.diagnostic(`bystander: longest gap ${longestGapMs} ms`);
  const agent = pidOf(cluster.node("node-b"), "agent");
  await until("their sockets are gone", 60_000, async () => {
    const { stdout } = await vault.run(["ss", "-Htnp", "sport", "=", ":15008"]);
    const held = stdout.split("\n").filter((line) => line.includes(`pid=${agent},`));
    return held.length <= 4 ? true : undefined;
  });
});

test("A13 descriptors run out under 500 clients: shed and counted, the admin socket answers, all is well afterwards", async (t) => {
  const { cluster } = journey;
  const node = cluster.node("node-a");
  await journey.programs.get(node.name)?.stop(20_000);
  node.start(["prlimit", "--nofile=256:256", process.execPath, orlopMain, "run", "-c", node.configFile]);
  await until("readiness of node-a", 30_000, async () => ((await readiness(node)) === "ready" ? true : undefined));
  const agent = pidOf(node, "agent");
  const web = cluster.pod("web");
  const to = { host: cluster.pod("api").ip4, port: ECHO };
  const before = await metric(node, "orlop_shed_total");
  const many = await openMany(web, to, 500);
  t.diagnostic(JSON.stringify(many.up));
  assert.ok(many.up.up > 0, "those that fit are served");
  assert.ok(many.up.up < 500, "and there are more than fit");
  assert.deepEqual(Object.keys(many.up.failed), ["ECONNRESET"], "the others are told at once");
  // All descriptors that the budget has are in use: what operators need is kept apart.
  const status = await node.orlop(["status", "--socket", `${node.runDir}/agent.sock`]).wait(20_000);
  assert.equal(status.status, 0, status.stderr);
  assert.equal((await view(node, "status")).node, "node-a");
  await until("the shed ones are counted", 60_000, async () =>
    (await metric(node, "orlop_shed_total")) >= before + (500 - many.up.up) ? true : undefined,
  );
  assert.equal((await many.finish()).alive, many.up.up, "what was taken is kept");
  await until("an answer afterwards", 10_000, async () => ((await call(web, to)).reply ? true : undefined));
  assert.equal(pidOf(node, "agent"), agent, "the agent is still the same");
});
