// operator-servers.ts with real sockets: of two agents in one process, the second opens its own once the first has closed.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../../test/cluster/free-ports.ts";
import { until } from "../../test/support/until.ts";
import { Readiness } from "../admin/health.ts";
import { aSource } from "../admin/source.fake.ts";
import { isAnswered, OperatorServers } from "./operator-servers.ts";

async function setUp(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-servers-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "agent.sock");
  // Two agents of a node have the same.
  const [metrics = 0, ready = 0] = await freePorts(2);
  const config = { metrics: { host: "127.0.0.1", port: metrics }, ready: { host: "127.0.0.1", port: ready } };
  const warnings: string[] = [];
  const agent = (): OperatorServers => {
    const servers = new OperatorServers({
      config,
      admin: { path, source: aSource(), peerOf: () => null, ownUid: 1 },
      page: { contentType: "text/plain", text: async () => "" },
      readiness: new Readiness([]),
      log: { warn: (message) => void warnings.push(message) },
      retryMs: 5,
    });
    t.after(() => servers.close());
    return servers;
  };
  const isReady = async (): Promise<boolean> => {
    const { host, port } = config.ready;
    return fetch(`http://${host}:${port}/healthz/ready`).then(
      ({ status }) => status === 200,
      () => false,
    );
  };
  return { path, agent, isReady, warnings };
}

test("opened, closed, and opened again; a second call of either changes nothing", async (t) => {
  const { path, agent, isReady } = await setUp(t);
  const servers = agent();
  assert.equal(await isAnswered(path), false);
  for (let turn = 0; turn < 2; turn++) {
    await Promise.all([servers.open(), servers.open()]);
    assert.deepEqual([await isAnswered(path), await isReady()], [true, true]);
    await Promise.all([servers.close(), servers.close()]);
    assert.deepEqual([await isAnswered(path), await isReady(), existsSync(path)], [false, false, false]);
  }
});

test("as long as another agent has them open, the next tries again; what it could open meanwhile it closes", async (t) => {
  const { path, agent, isReady, warnings } = await setUp(t);
  const [old, next] = [agent(), agent()];
  await old.open();
  await assert.rejects(next.open(), { code: "EADDRINUSE" });
  await next.openWhenFree();
  assert.equal(warnings.length, 1);
  await old.close();
  await until(async () => (await isReady()) && (await isAnswered(path)));
});

test("an agent that yields before it could open them stops trying", async (t) => {
  const { agent, isReady } = await setUp(t);
  const [old, next] = [agent(), agent()];
  await old.open();
  await next.openWhenFree();
  await next.close();
  await old.close();
  await sleep(50);
  assert.equal(await isReady(), false);
});
