// Balancing by cost, on a simulated clock: who is slow or fails gets few requests soon, who recovers gets them back, who is new is tried, and
// nobody's requests change another's choice.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import type { Candidate } from "../plan/endpoints.ts";
import { chooseEndpoint } from "../plan/endpoints.ts";
import { EndpointCosts } from "./endpoint-costs.ts";

type Behaviour = { readonly latencyMs: number; readonly fails: number };
const healthy: Behaviour = { latencyMs: 5, fails: 0 };

const endpoint = (nth: number, weight = 1): Candidate => ({
  ...{ workload: null, address: `10.0.0.${nth}`, port: 80, weight, healthy: true },
});
const loadBalancing = { preference: [], mode: "unspecified", health: "only-healthy" } as const;
const from = { network: "", node: "", cluster: "", locality: { region: "", zone: "", subzone: "" } };

/** Requests that arrive at random, open loop, and what became of them. */
class Simulation {
  nowMs = 0;
  readonly costs = new EndpointCosts(() => this.nowMs);
  readonly behaviour: (nth: number) => Behaviour;
  readonly #random: () => number;
  #ends: { readonly at: number; readonly call: () => void }[] = [];

  constructor(random: () => number, behaviour: (nth: number) => Behaviour) {
    this.#random = random;
    this.behaviour = behaviour;
  }

  /** How many requests each endpoint got. */
  run(ms: number, perSecond: number, endpoints: readonly Candidate[], caller = "web"): ReadonlyMap<number, number> {
    const got = new Map<number, number>();
    const until = this.nowMs + ms;
    for (;;) {
      const next = this.nowMs - (Math.log(1 - this.#random()) * 1_000) / perSecond;
      for (const { at, call } of this.#ends
        .filter(({ at }) => at <= Math.min(next, until))
        .sort((a, b) => a.at - b.at)) {
        this.nowMs = at;
        call();
      }
      this.nowMs = Math.min(next, until);
      this.#ends = this.#ends.filter(({ at }) => at > this.nowMs);
      if (next >= until) return got;
      this.#request(endpoints, caller, got);
    }
  }

  #request(endpoints: readonly Candidate[], caller: string, got: Map<number, number>): void {
    const load = ({ address, port }: Candidate): number => this.costs.of(caller, address, port);
    const chosen = chooseEndpoint(endpoints, { from, loadBalancing, load, asksThird: true, random: this.#random });
    assert.ok(chosen);
    const nth = endpoints.indexOf(chosen);
    got.set(nth, (got.get(nth) ?? 0) + 1);
    const { latencyMs, fails } = this.behaviour(nth);
    const isFailed = this.#random() < fails;
    // What fails, fails fast.
    const elapsedMs = isFailed ? 0.5 : latencyMs * (0.5 + this.#random());
    const cost = this.costs.begin(caller, chosen.address, chosen.port);
    this.#ends.push({ at: this.nowMs + elapsedMs, call: () => this.costs.end(cost, { elapsedMs, isFailed }) });
  }
}

const ten = Array.from({ length: 10 }, (_, nth) => endpoint(nth));
const shareOf = (got: ReadonlyMap<number, number>, nth: number): number =>
  (got.get(nth) ?? 0) / [...got.values()].reduce((total, count) => total + count, 0);

for (const perSecond of [200, 1_000, 5_000]) {
  const seed = randomInt(2 ** 31);

  test(`${perSecond}/s: an endpoint that is ten times as slow as nine others has 2 % at most, from two seconds on`, (context) => {
    let isSlow = false;
    const world = new Simulation(seeded(seed), (nth) => (isSlow && nth === 3 ? { latencyMs: 50, fails: 0 } : healthy));
    const before = world.run(10_000, perSecond, ten);
    for (const [nth] of ten.entries())
      assert.ok(shareOf(before, nth) > 0.05 && shareOf(before, nth) < 0.16, `seed ${seed}`);
    isSlow = true;
    const first = shareOf(world.run(2_000, perSecond, ten), 3);
    const share = shareOf(world.run(20_000, perSecond, ten), 3);
    context.diagnostic(
      `seed ${seed}: ${(100 * first).toFixed(2)} % in the first 2 s, ${(100 * share).toFixed(2)} % after`,
    );
    assert.ok(share <= 0.02, `seed ${seed}: ${share}`);
    isSlow = false;
    world.run(60_000, perSecond, ten);
    assert.ok(shareOf(world.run(10_000, perSecond, ten), 3) > 0.05, `seed ${seed}: it has recovered`);
  });

  test(`${perSecond}/s: an endpoint that fails fast has less than 1 %`, (context) => {
    const broken = new Simulation(seeded(seed), (nth) => (nth === 3 ? { latencyMs: 5, fails: 1 } : healthy));
    broken.run(2_000, perSecond, ten);
    const failing = shareOf(broken.run(20_000, perSecond, ten), 3);
    context.diagnostic(`seed ${seed}: ${(100 * failing).toFixed(2)} %`);
    assert.ok(failing < 0.01, `seed ${seed}: ${failing}`);
  });

  test(`${perSecond}/s: where all fail now and then, or are slow alike, nobody is left out`, () => {
    const world = new Simulation(seeded(seed), () => ({ latencyMs: 20, fails: 0.02 }));
    world.run(5_000, perSecond, ten);
    const got = world.run(30_000, perSecond, ten);
    for (const [nth] of ten.entries()) {
      const share = shareOf(got, nth);
      assert.ok(share > 0.04 && share < 0.2, `seed ${seed}: ${nth} has ${share}`);
    }
  });
}

test("a new endpoint is tried at once, and not by everybody", () => {
  const seed = randomInt(2 ** 31);
  const world = new Simulation(seeded(seed), () => healthy);
  world.run(10_000, 1_000, ten.slice(0, 9));
  const got = world.run(1_000, 1_000, ten);
  assert.ok(shareOf(got, 9) > 0.05 && shareOf(got, 9) < 0.25, `seed ${seed}: ${shareOf(got, 9)}`);
});

test("shares follow weights", () => {
  const seed = randomInt(2 ** 31);
  const world = new Simulation(seeded(seed), () => healthy);
  const got = world.run(20_000, 1_000, [endpoint(0, 3), endpoint(1, 1), endpoint(2, 1)]);
  assert.ok(shareOf(got, 0) > 0.45 && shareOf(got, 0) < 0.75, `seed ${seed}: ${shareOf(got, 0)}`);
});

test("what a caller provokes at an endpoint is nothing to another caller", () => {
  const random = seeded(1);
  const world = new Simulation(random, (nth) => (nth === 3 ? { latencyMs: 5, fails: 1 } : healthy));
  world.run(2_000, 1_000, ten, "attacker");
  for (const { address } of ten)
    assert.equal(world.costs.of("web", address, 80), world.costs.of("web", "10.9.9.9", 80));
});

test("that an endpoint cannot be connected to is known to all callers, until one is answered there or time has passed", () => {
  let nowMs = 0;
  const costs = new EndpointCosts(() => nowMs);
  const idle = costs.of("web", "10.0.0.1", 80);
  for (let nth = 0; nth < 3; nth++) costs.unreached("10.0.0.1", 80);
  assert.ok(costs.of("web", "10.0.0.1", 80) > 50 * idle);
  assert.equal(costs.of("web", "10.0.0.1", 81), idle, "another port");
  nowMs = 60_000;
  assert.ok(costs.of("web", "10.0.0.1", 80) < 1.1 * idle);
  for (let nth = 0; nth < 3; nth++) costs.unreached("10.0.0.1", 80);
  const failed = costs.begin("batch", "10.0.0.1", 80);
  costs.end(failed, { elapsedMs: 0, isFailed: true });
  assert.ok(costs.of("web", "10.0.0.1", 80) > 50 * idle);
  const answered = costs.begin("batch", "10.0.0.1", 80);
  costs.end(answered, { elapsedMs: 1, isFailed: false });
  assert.equal(costs.of("web", "10.0.0.1", 80), idle);
});

test("a caller that leaves has waited for so long at least, and no end counts a request twice", () => {
  let nowMs = 0;
  const costs = new EndpointCosts(() => nowMs);
  const idle = costs.of("web", "10.0.0.1", 80);
  const end = costs.begin("web", "10.0.0.1", 80);
  assert.equal(costs.of("web", "10.0.0.1", 80), 2 * idle);
  nowMs = 3_000;
  costs.end(end, { elapsedMs: 3_000, isFailed: null });
  assert.equal(costs.of("web", "10.0.0.1", 80), 3_000);
  const unknown = costs.begin("web", "10.0.0.2", 80);
  costs.end(unknown, null);
  assert.equal(costs.of("web", "10.0.0.2", 80), idle);
});

test("memory is bounded by what is kept, whoever calls whom", () => {
  const costs = new EndpointCosts(() => 0, 100);
  const ends = Array.from({ length: 1_000 }, (_, nth) => costs.begin(`caller ${nth}`, "10.0.0.1", 80));
  for (const end of ends) costs.end(end, { elapsedMs: 1_000, isFailed: false });
  assert.equal(costs.of("caller 0", "10.0.0.1", 80), 0.5);
  assert.equal(costs.of("caller 999", "10.0.0.1", 80), 1_000);
});
