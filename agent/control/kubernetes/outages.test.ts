// An API server on bad days, hour by hour of a clock that the source is given: away, up and down, slow. What was applied stays in force, the
// server is asked seldom, and what it has is in force soon after it is back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Silence } from "./api-answer.ts";
import { clusterOf, deny, pod, start } from "./clocked-source.fake.ts";
import { answer } from "./cluster.fake.ts";

const DEADLINE = { timeout: 120_000 };
const HOUR_MS = 3_600_000;
const before = { workloads: ["web"], policies: ["callers"] };

test(
  "an API server that is away for an hour: the mesh stays, each kind asks again within half a minute, and then what is new is in force",
  DEADLINE,
  async (t) => {
    const cluster = clusterOf();
    let isAway = false;
    let asked = 0;
    const agent = start(t, undefined, async (path, options) => {
      if (!isAway) return cluster.ask(path, options);
      asked += 1;
      throw new Error("connection refused");
    });
    await agent.until(({ state }) => state === "synced");
    isAway = true;
    const { batches, nowMs, waits } = agent;
    waits.length = 0;
    const [applied, sinceMs] = [batches(), nowMs()];
    while (nowMs() < sinceMs + HOUR_MS) await agent.turns();
    assert.deepEqual([agent.has(), batches()], [before, applied]);
    const status = agent.source.status();
    assert.equal(status.state, "stale");
    assert.ok(status.kinds.every(({ state, awaySince }) => state === "away" && awaySince !== ""));
    assert.ok(asked > 60 * status.kinds.length, `${asked} questions`);
    assert.ok(Math.max(...waits) <= 30_000, "each kind asks again within half a minute");
    const average = waits.slice(-100).reduce((sum, ms) => sum + ms, 0) / 100;
    assert.ok(average > 10_000, `it asks every ${average} ms`);
    cluster.change("AuthorizationPolicy", "more", deny);
    cluster.change("Pod", "job", pod(2));
    cluster.change("Pod", "web", null);
    isAway = false;
    await agent.until(({ state }) => state === "synced");
    const wanted = { workloads: ["job"], policies: ["callers", "more"] };
    await agent.until(() => JSON.stringify(agent.has()) === JSON.stringify(wanted));
  },
);

test(
  "an API server that comes and goes every 40 s for an hour, and takes up to 20 s for an answer: no policy is missed, nothing goes back",
  DEADLINE,
  async (t) => {
    const cluster = clusterOf();
    const { dice } = cluster;
    let isSteady = true;
    const isUp = (): boolean => isSteady || Math.floor(agent.nowMs() / 40_000) % 2 === 0;
    const agent = start(t, undefined, async (path, options) => {
      if (!isSteady) await agent.sleep(dice.roll(20_000), options.signal);
      if (!isUp()) throw new Error("connection refused");
      return cluster.ask(path, options);
    });
    await agent.until(({ state }) => state === "synced");
    const seen = new Set<string>();
    agent.onApplied(() => {
      const { workloads, policies } = agent.has();
      for (const name of [...workloads, ...policies]) seen.add(name);
      for (const name of seen) assert.ok(workloads.includes(name) || policies.includes(name), `${name} is gone`);
    });
    isSteady = false;
    const sinceMs = agent.nowMs();
    for (let minute = 1; minute <= 60; minute += 1) {
      cluster.change("AuthorizationPolicy", `policy-${minute}`, deny);
      cluster.change("Pod", `pod-${minute}`, pod(minute + 1));
      while (agent.nowMs() < sinceMs + minute * 60_000) await agent.turns();
    }
    assert.ok(agent.batches() > 20, `${agent.batches()} batches: too tame`);
    isSteady = true;
    await agent.until(({ kinds, objects }) => objects === 122 && kinds.every(({ state }) => state === "watching"));
    assert.deepEqual([agent.has().workloads.length, agent.has().policies.length], [61, 61]);
  },
);

test(
  "something holds back what watches bring, and passes on all else: status says so, and a DENY is in force all the same",
  DEADLINE,
  async (t) => {
    const cluster = clusterOf();
    let isHeld = false;
    const agent = start(t, undefined, async (path, options) => {
      if (!isHeld || !path.includes("watch=true")) return cluster.ask(path, options);
      const body = (async function* () {
        await agent.sleep(90_000, options.signal);
        yield new Uint8Array();
        throw new Silence("nothing came");
      })();
      return answer(200, "", { body });
    });
    await agent.until(({ state }) => state === "synced");
    isHeld = true;
    cluster.change("AuthorizationPolicy", "more", deny);
    await agent.until(({ kinds }) =>
      kinds.every(({ state, why }) => state === "away" && /not even a bookmark/.test(why)),
    );
    assert.equal(agent.source.status().state, "stale");
    await agent.until(() => agent.has().policies.includes("more"));
    const sinceMs = agent.nowMs();
    while (agent.nowMs() < sinceMs + HOUR_MS) await agent.turns();
    assert.ok(agent.source.status().kinds.every(({ state }) => state === "away"));
    isHeld = false;
    await agent.until(({ state }) => state === "synced");
  },
);
