// An agent that starts again begins with what was applied last, whatever the API server says or does not say just then.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { crc32 } from "node:zlib";
import { clusterOf, deny, fileOf, pod, start } from "./clocked-source.fake.ts";
import { answer, type FakeCluster } from "./cluster.fake.ts";
import { endLine } from "./copy-file.ts";

const DEADLINE = { timeout: 120_000 };

/** What an agent of this cluster has applied is in the file. */
async function applied(t: TestContext, file: string, cluster: FakeCluster): Promise<void> {
  const first = start(t, file, cluster.ask);
  await first.until(({ state }) => state === "synced");
  await first.stop();
}

const both = { workloads: ["web"], policies: ["callers"] };

test(
  "without an API server the last good state is in force, and it says since when it is stale",
  DEADLINE,
  async (t) => {
    const [file, cluster] = [fileOf(t), clusterOf()];
    await applied(t, file, cluster);
    let isAway = true;
    const again = start(t, file, async (path, options) => {
      if (isAway) throw new Error("connection refused");
      return cluster.ask(path, options);
    });
    const stale = await again.until(({ kinds, state }) => state === "stale" && kinds[0]?.awaySince !== "");
    assert.deepEqual([again.has(), stale.fromLastGood, stale.objects], [both, true, 2]);
    assert.match(stale.kinds.map(({ kind, why }) => `${kind} ${why}`).join(), /Pod connection refused/);
    cluster.change("Pod", "job", pod(2));
    isAway = false;
    const synced = await again.until(({ state }) => state === "synced");
    assert.deepEqual([again.has().workloads, synced.fromLastGood], [["job", "web"], false]);
    assert.deepEqual(synced.kinds.find(({ kind }) => kind === "Pod")?.objects, 2);
  },
);

test("what changed between restarts is kept with what did not, over any number of them", DEADLINE, async (t) => {
  const [file, cluster] = [fileOf(t), clusterOf()];
  await applied(t, file, cluster);
  for (const turn of [2, 3, 4]) {
    cluster.change("Pod", `job-${turn}`, pod(turn));
    if (turn > 2) cluster.change("Pod", `job-${turn - 1}`, null);
    await applied(t, file, cluster);
    // Nobody answers: all that it has is what was kept.
    const alone = start(t, file, async () => {
      throw new Error("connection refused");
    });
    await alone.until(({ fromLastGood }) => fromLastGood);
    assert.deepEqual(alone.has(), { workloads: [`job-${turn}`, "web"], policies: ["callers"] });
    await alone.stop();
  }
});

test(
  "what another release has kept is read again, also where nothing changed; what this release has kept is not",
  DEADLINE,
  async (t) => {
    for (const isOwn of [true, false]) {
      const [file, cluster] = [fileOf(t), clusterOf()];
      await applied(t, file, cluster);
      const lines = readFileSync(file, "utf8").split("\n").slice(0, -2);
      const own = /"keeps":"\w+"/;
      assert.match(lines[0] ?? "", own);
      // The same version of the pod, which the other release has read otherwise.
      const other = lines.map((line) =>
        line.replace("10.0.0.1", "10.0.0.9").replace(isOwn ? /$^/ : own, '"keeps":"less"'),
      );
      const text = `${other.join("\n")}\n`;
      writeFileSync(file, `${text}${endLine(crc32(text), "2026-01-01T00:00:00.000Z")}`);
      await applied(t, file, cluster);
      const after = readFileSync(file, "utf8");
      assert.deepEqual([after.includes("10.0.0.1"), after.includes("10.0.0.9")], [!isOwn, isOwn]);
      assert.match(after.split("\n")[0] ?? "", own);
    }
  },
);

test("while one kind is forbidden nothing newer is in force than what was", DEADLINE, async (t) => {
  const [file, cluster] = [fileOf(t), clusterOf()];
  await applied(t, file, cluster);
  cluster.change("Pod", "job", pod(2));
  cluster.change("AuthorizationPolicy", "more", deny);
  let isForbidden = true;
  const again = start(t, file, async (path, options) =>
    isForbidden && path.includes("authorizationpolicies") ? answer(403, "{}") : cluster.ask(path, options),
  );
  await again.until(({ kinds }) => kinds.some(({ why }) => why.includes("HTTP status 403")));
  await again.turns();
  assert.deepEqual([again.has(), again.batches()], [both, 1]);
  isForbidden = false;
  await again.until(({ state }) => state === "synced");
  assert.deepEqual(again.has(), { workloads: ["job", "web"], policies: ["callers", "more"] });
  assert.equal(again.batches(), 2);
});

test(
  "an agent that restarts while the policies' definition is unknown does not take them for none",
  DEADLINE,
  async (t) => {
    const [file, cluster] = [fileOf(t), clusterOf()];
    await applied(t, file, cluster);
    const policies = cluster.kinds.get("AuthorizationPolicy");
    assert.ok(policies);
    policies.definition = "unknown";
    cluster.change("Pod", "job", pod(2));
    const again = start(t, file, cluster.ask);
    await again.until(({ kinds }) => kinds.some(({ state }) => state === "away"));
    await again.turns();
    assert.deepEqual([again.has(), again.source.status().state], [both, "stale"]);
    policies.definition = "served";
    await again.until(({ state }) => state === "synced");
    assert.deepEqual(again.has(), { workloads: ["job", "web"], policies: ["callers"] });
    await again.stop();

    // Deleted with its objects, it is empty: after a minute, by the agent's clock.
    cluster.delete("AuthorizationPolicy");
    const last = start(t, file, cluster.ask);
    await last.until(({ state }) => state === "synced");
    assert.deepEqual(last.has(), { workloads: ["job", "web"], policies: [] });
    assert.match(last.logged.join("\n"), /the definition of AuthorizationPolicy is gone, which is believed/);
  },
);

test("what was kept of another cluster does not count, whenever the server says which it is", DEADLINE, async (t) => {
  for (const late of [false, true]) {
    const [file, cluster, other] = [fileOf(t), clusterOf("one"), clusterOf("two")];
    await applied(t, file, cluster);
    other.change("Pod", "web", null);
    other.change("Pod", "shop", pod(3));
    other.change("AuthorizationPolicy", "callers", null);
    other.delete("AuthorizationPolicy");
    let isAway = late;
    const again = start(t, file, async (path, options) => {
      if (isAway) throw new Error("connection refused");
      return other.ask(path, options);
    });
    if (late) {
      await again.until(({ fromLastGood }) => fromLastGood);
      assert.deepEqual(again.has(), both);
      isAway = false;
    }
    await again.until(({ state }) => state === "synced");
    assert.deepEqual(again.has(), { workloads: ["shop"], policies: [] });
    assert.equal(again.batches(), late ? 2 : 1);
    await again.stop();
    assert.match(again.logged.join("\n"), /is of another cluster/);
  }
});

test("pods that come with an outage's end wait for the policies that came with them", DEADLINE, async (t) => {
  const [file, cluster] = [fileOf(t), clusterOf()];
  let isAway = false;
  let policiesAway = false;
  const cut = new Set<AbortController>();
  const agent = start(t, file, async (path, { signal, idleMs }) => {
    if (isAway || (policiesAway && path.includes("/apis/security"))) throw new Error("connection refused");
    const answered = await cluster.ask(path, { signal, idleMs });
    if (!path.includes("watch=true")) return answered;
    // A watch of a healthy server stays open until the connection is cut.
    const ending = new AbortController();
    cut.add(ending);
    const body = (async function* () {
      yield* answered.body;
      await new Promise((_, reject) => {
        for (const each of [ending.signal, signal])
          each.addEventListener("abort", () => reject(new Error("connection lost")), { once: true });
      });
    })();
    return { ...answered, body };
  });
  await agent.until(({ state }) => state === "synced");
  const orders: string[] = [];
  agent.onApplied(() => orders.push(`${agent.has().workloads} ${agent.has().policies}`));
  isAway = true;
  for (const ending of cut) ending.abort();
  await agent.until(({ kinds }) => kinds.every(({ state }) => state === "away"));
  cluster.change("AuthorizationPolicy", "more", deny);
  cluster.change("Pod", "job", pod(2));
  [isAway, policiesAway] = [false, true];
  await agent.until(({ kinds }) => kinds.find(({ kind }) => kind === "Pod")?.state === "watching");
  policiesAway = false;
  await agent.until(({ state }) => state === "synced");
  await agent.until(() => agent.has().workloads.includes("job"));
  assert.deepEqual(orders, ["web callers,more", "job,web callers,more"]);
});
