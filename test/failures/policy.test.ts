// Table C of docs/reference/failures.md, on a whole mesh: a policy that changes under open connections (C14), and every way to one pod judged by
// the same rule (C10).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { apiService, demoNodes, initialState, type MeshState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";
import { openMany } from "../support/many.ts";

const ECHO = 8080;
const now = (): number => performance.timeOrigin + performance.now();
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const write = (change: Partial<MeshState>): void =>
  journey.cluster.writeMesh(meshText(journey.cluster, { ...initialState, ...change }));

/** When the last node had taken the file over, in milliseconds since the epoch. */
async function appliedAfter(writtenAt: number): Promise<number> {
  const times = journey.cluster.nodes.map((node) =>
    until(`${node.name} applies`, 15_000, async () => {
      const at = Date.parse((await view(node, "status")).source.appliedAt);
      return at >= Math.floor(writtenAt) ? at : undefined;
    }),
  );
  return Math.max(...(await Promise.all(times)));
}

test("C14 a thousand open connections and a policy flip: all of them end, a bystander's does not", async (t) => {
  const { cluster } = journey;
  const vault = { host: cluster.pod("vault").ip4, port: ECHO };
  const many = await openMany(cluster.pod("web"), vault, 1_000);
  assert.deepEqual(many.up, { event: "up", up: 1_000, failed: {} });
  const bystander = await startPing(cluster.pod("web"), { host: cluster.pod("api").ip4, port: ECHO }, 20);
  const writtenAt = now();
  write({ vaultCallers: ["nobody"] });
  const [applied, end] = await Promise.all([appliedAfter(writtenAt), many.allDead(60_000)]);
  t.diagnostic(
    `all ended ${Math.round(end.lastDeathAt - applied)} ms after the policy was applied, ` +
      `${Math.round(end.lastDeathAt - writtenAt)} ms after it was written: ${JSON.stringify(end.dead)}`,
  );
  assert.equal(end.alive, 0);
  await bystander.finish();
  write({});
  await until("served again", 15_000, async () => ((await call(cluster.pod("web"), vault)).reply ? true : undefined));
});

test("C14 one live connection ends within a second of the new policy", async (t) => {
  const { cluster } = journey;
  const vault = { host: cluster.pod("vault").ip4, port: ECHO };
  const pinger = await startPing(cluster.pod("web"), vault, 5);
  const writtenAt = now();
  write({ vaultCallers: ["nobody"] });
  const [applied, { atMs, how }] = await Promise.all([appliedAfter(writtenAt), pinger.dead(15_000)]);
  t.diagnostic(`${how} ${Math.round(atMs - applied)} ms after the policy was applied (promised: 100)`);
  assert.ok(atMs - applied < 1_000, `${atMs - applied} ms`);
  write({});
  await until("served again", 15_000, async () => ((await call(cluster.pod("web"), vault)).reply ? true : undefined));
});

test("C10 the same rule by every way: other node, same node, service address, both families, mapped", async () => {
  const { cluster } = journey;
  const api = cluster.pod("api");
  const ways = [
    { host: api.ip4, port: ECHO },
    { host: api.ip6, port: ECHO },
    { host: `::ffff:${api.ip4}`, port: ECHO },
    { host: apiService.ip4, port: apiService.port },
    { host: apiService.ip6, port: apiService.port },
    { host: `::ffff:${apiService.ip4}`, port: apiService.port },
  ];
  for (const way of ways) {
    const [denied, other, near] = await Promise.all([
      call(cluster.pod("batch"), way),
      call(cluster.pod("web"), way),
      call(cluster.pod("vault"), way),
    ]);
    assert.equal(denied.reply, undefined, `batch by ${JSON.stringify(way)}`);
    assert.notEqual(denied.error, "timeout", `batch by ${JSON.stringify(way)}`);
    assert.equal(other.reply?.pod, "api", `web by ${JSON.stringify(way)}: ${JSON.stringify(other)}`);
    assert.equal(near.reply?.pod, "api", `vault, on the same node, by ${JSON.stringify(way)}: ${JSON.stringify(near)}`);
    assert.equal(near.remote, way.host.includes(":") ? `[${way.host}]:${way.port}` : `${way.host}:${way.port}`);
  }
  // On the same node, and denied.
  for (const host of [cluster.pod("vault").ip4, cluster.pod("vault").ip6]) {
    const refused = await call(api, { host, port: ECHO });
    assert.equal(refused.reply, undefined, "api is none of vault's callers");
    assert.notEqual(refused.error, "timeout");
  }
});
