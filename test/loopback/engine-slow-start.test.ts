// tests · slow start with real sockets, engines and data threads: an endpoint that comes gets the part of its share that its age allows, on each
// thread, whichever way requests are balanced; an endpoint that was away is new again. The clock stops between counts, so that ages are exact.
import assert from "node:assert/strict";
import test from "node:test";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import { type RequestBalancing, requestBalancings, type TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { callerOf, counted, numberedEndpoints } from "./numbered-endpoints.ts";
import { sharingNode } from "./sharing-node.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const OLD = 4;
const NEW = OLD;
const COUNT = 800;
/** To see whether it gets any. */
const FEW = 100;
const CALLERS = 8;
const DEVIATIONS = 5;
const warmUp = { durationMs: 60_000, minimumPercent: 10, aggression: 1 };

/** Of `count` requests that each fall to it with this chance. */
const boundOf = (count: number, chance: number): number => DEVIATIONS * Math.sqrt(count * chance * (1 - chance));

const policyOf = (balance: RequestBalancing, aggression = 1): TrafficPolicy => ({
  ...{ outliers: null, maxRequests: null, hash: null, from: nowhere },
  ...{ balance, warmUp: { ...warmUp, aggression } },
});

for (const [balance, aggression] of [
  ["random", 1],
  ["round-robin", 2],
] as const)
  test(`${balance}, aggression ${aggression}: of 2 threads a new endpoint has the share of its age; one that was away is new (seed ${seed})`, async (t) => {
    const all = await numberedEndpoints(t, OLD + 1);
    const at = all.map(({ address, port }) => ({ address, port }));
    const made = await sharingNode(t, 2, {
      ...{
        endpoints: at.slice(0, OLD),
        policy: policyOf(balance, aggression),
        hasStoppedClock: true,
        seed,
      },
    });
    const asked = callerOf(t);
    const shares = async (count: number): Promise<number> => {
      const got = await counted(made, asked, { count, callers: CALLERS, endpoints: OLD + 1 });
      // The others are as old as each other.
      const each = (count - (got[NEW] ?? 0)) / OLD;
      for (const old of got.slice(0, OLD))
        assert.ok(Math.abs(old - each) < DEVIATIONS * Math.sqrt(each), `${got} (seed ${seed})`);
      return got[NEW] ?? 0;
    };
    /** @param weight of an old endpoint's */
    const has = async (weight: number): Promise<void> => {
      const chance = weight / (OLD + weight);
      const [mean, bound] = [COUNT * chance, boundOf(COUNT, chance)];
      const found = await shares(COUNT);
      assert.ok(Math.abs(found - mean) <= bound, `${found}, not ${mean} ± ${bound} (seed ${seed})`);
    };
    // What was there when a thread first looked is old at once.
    assert.equal(await shares(FEW), 0);
    await made.ask({ op: "endpoints", endpoints: at });
    await has(0.1);
    await made.ask({ op: "later", ms: warmUp.durationMs / 4 });
    await has(0.25 ** (1 / aggression));
    await made.ask({ op: "later", ms: (warmUp.durationMs / 4) * 3 });
    await has(1);
    await made.ask({ op: "endpoints", endpoints: at.slice(0, OLD) });
    assert.equal(await shares(FEW), 0);
    await made.ask({ op: "endpoints", endpoints: at });
    await has(0.1);
  });

/** Of three draws by weight, the last two without the first: what an endpoint has at most, if it wins each time that it is drawn. */
const mostOfThree = (weight: number): number => weight / (OLD + weight) + (2 * weight) / (OLD - 1 + weight);

for (const balance of requestBalancings)
  test(`${balance}: an endpoint that has just come has no more than its draws, and its requests are served (seed ${seed})`, async (t) => {
    const all = await numberedEndpoints(t, OLD + 1);
    const at = all.map(({ address, port }) => ({ address, port }));
    const made = await sharingNode(t, 2, {
      ...{
        endpoints: at.slice(0, OLD),
        policy: policyOf(balance),
        hasStoppedClock: true,
        seed,
      },
    });
    const asked = callerOf(t);
    const got = async (count: number): Promise<number> =>
      (await counted(made, asked, { count, callers: CALLERS, endpoints: OLD + 1 }))[NEW] ?? 0;
    assert.equal(await got(FEW), 0);
    await made.ask({ op: "endpoints", endpoints: at });
    const count = COUNT / 2;
    const most = count * mostOfThree(0.1) + boundOf(count, mostOfThree(0.1));
    assert.ok(most < count / (OLD + 1), "an old endpoint's share would be more");
    const early = await got(count);
    assert.ok(early <= most, `${early} of ${most} at most (seed ${seed})`);
    await made.ask({ op: "later", ms: warmUp.durationMs });
    assert.ok((await got(FEW)) > 0);
  });
