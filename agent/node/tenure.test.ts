// tenure.ts: acts in their order, descriptors with an owner, and a keeper that refuses or goes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { until } from "../../test/support/until.ts";
import type { LentMaps, Welcome } from "../engine/keeper-client.ts";
import type { WelcomedRole } from "../keeper/protocol.ts";
import { NodeTenure } from "./tenure.ts";

const maps = (gate: number): LentMaps => ({ gate }) as Partial<LentMaps> as LentMaps;
const welcome = (role: WelcomedRole, gate = 1): Welcome => ({ role, maps: maps(gate), pods: [] });

function setUp(options: { readonly supervised?: boolean; readonly fails?: boolean } = {}) {
  const calls: string[] = [];
  const warnings: string[] = [];
  let stopped = Promise.resolve();
  let refusals = 0;
  let done: Promise<void> = Promise.resolve();
  let served = (): void => assert.fail("the agent has not held the node");
  const say = (what: string) => async (): Promise<void> => {
    calls.push(what);
    return done;
  };
  const tenure = new NodeTenure({
    keeper: {
      take: async () => {
        calls.push("take");
        if (refusals === 0) return { maps: maps(2), pods: [] };
        refusals -= 1;
        throw new Error("busy");
      },
      yielded: say("yielded"),
      serving: say("serving"),
      leave: say("leave"),
    },
    hold: async (holding, call) => {
      calls.push(`hold ${holding.maps.gate}`);
      if (options.fails) throw new Error("a map of another layout");
      served = call;
    },
    stopWriting: async () => {
      await stopped;
      calls.push("stopped");
    },
    lent: ({ maps: { gate } }) => void calls.push(`lent ${gate}`),
    announce: options.supervised === false ? null : () => void calls.push("announce"),
    log: { info: () => {}, warn: (message) => void warnings.push(message) },
    retryMs: 1,
  });
  return {
    tenure,
    calls,
    warnings,
    served: () => served(),
    stopLater: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      stopped = promise;
      return resolve;
    },
    refuse: (times: number) => {
      refusals = times;
    },
    keeperGoes: () => {
      done = Promise.reject(new Error("gone"));
      done.catch(() => {});
    },
  };
}

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn();
}

describe("an agent's tenure", () => {
  test("a new agent without another holds the node at once, and says when it serves", async () => {
    const { tenure, calls, served } = setUp();
    assert.deepEqual([tenure.role, tenure.holds], ["new", false]);
    tenure.welcomed(welcome("holding"));
    await settled();
    assert.deepEqual([tenure.role, tenure.holds], ["holding", true]);
    served();
    assert.deepEqual(calls, ["hold 1", "serving"]);
  });

  test("a waiting agent owns what it was lent, takes the node, and asks again after a no", async () => {
    const { tenure, calls, refuse } = setUp();
    refuse(2);
    tenure.welcomed(welcome("waiting"));
    tenure.happened({ type: "ready" });
    await until(() => calls.includes("hold 2"), { seen: () => calls });
    assert.deepEqual(calls, ["lent 1", "take", "take", "take", "hold 2"]);
  });

  test("yielded is said after all writing has stopped; then what the former turn began to serve is not said", async () => {
    const { tenure, calls, served, stopLater } = setUp();
    tenure.welcomed(welcome("holding"));
    await settled();
    const stop = stopLater();
    tenure.happened({ type: "yield" });
    assert.equal(tenure.holds, false, "at once");
    await settled();
    served();
    assert.deepEqual(calls, ["hold 1"]);
    stop();
    await settled();
    assert.deepEqual(calls, ["hold 1", "stopped", "yielded"]);
  });

  test("vacant while it still stops writing: it takes the node again after that", async () => {
    const { tenure, calls, stopLater } = setUp();
    tenure.welcomed(welcome("holding"));
    await settled();
    const stop = stopLater();
    tenure.happened({ type: "yield" });
    tenure.happened({ type: "vacant" });
    await settled();
    assert.deepEqual(calls, ["hold 1", "take"]);
    stop();
    await settled();
    assert.deepEqual(calls, ["hold 1", "take", "stopped", "yielded", "hold 2"]);
    assert.equal(tenure.holds, true);
  });

  test("asked to yield before it has opened what it took: it opens nothing, and the descriptors have an owner", async () => {
    const { tenure, calls } = setUp();
    tenure.welcomed(welcome("holding"));
    tenure.happened({ type: "yield" });
    await settled();
    assert.deepEqual(calls, ["lent 1", "stopped", "yielded"]);
    assert.equal(tenure.holds, false);
  });

  test("to end: the next agent is asked for, and the agent drains once that agent is settled", async () => {
    const { tenure, calls } = setUp();
    tenure.welcomed(welcome("holding"));
    tenure.happened({ type: "ordered" });
    tenure.happened({ type: "yield" });
    tenure.happened({ type: "settled" });
    assert.deepEqual(await tenure.drains, { succeeded: true });
    assert.deepEqual(calls.slice(0, 1), ["announce"]);
    tenure.happened({ type: "alone", stops: true });
    await tenure.hurries;
  });

  test("to end without `orlop run`: it leaves and drains; a keeper that has gone is reported", async () => {
    const { tenure, calls, warnings, keeperGoes } = setUp({ supervised: false });
    tenure.welcomed(welcome("holding"));
    await settled();
    keeperGoes();
    tenure.happened({ type: "ordered" });
    assert.deepEqual(await tenure.drains, { succeeded: false });
    await settled();
    assert.deepEqual(calls, ["hold 1", "leave", "stopped"]);
    assert.equal(warnings.length, 1);
    tenure.welcomed(welcome("leaving", 7));
    assert.deepEqual(calls.at(-1), "lent 7");
  });

  test("what cannot be held ends the agent: the agent before it takes the node again", async () => {
    const { tenure } = setUp({ fails: true });
    tenure.welcomed(welcome("holding"));
    await assert.rejects(tenure.drains, /another layout/);
  });
});
