import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { seeded } from "../../test/support/dice.ts";
import { workload } from "../mesh/mesh.fake.ts";
import type { LoadBalancing, LocalityPreference } from "../mesh/service.ts";
import { type Candidate, type Choice, chooseEndpoint, rankOf } from "./endpoints.ts";

const even: LoadBalancing = { preference: [], mode: "unspecified", health: "only-healthy" };
const here = workload("client", { node: "n1", locality: { region: "r1", zone: "z1", subzone: "s1" } });

function candidate(index: number, given: Partial<Candidate> = {}): Candidate {
  const address = `10.0.1.${index}`;
  return {
    workload: workload(`w${index}`, { addresses: [address] }),
    address,
    port: 80,
    weight: 1,
    healthy: true,
    ...given,
  };
}
function choose(candidates: readonly Candidate[], given: Partial<Choice> = {}): Candidate | undefined {
  return chooseEndpoint(candidates, { from: here, loadBalancing: even, load: () => 0, random: seeded(3), ...given });
}

/** How often each address was chosen in `draws`. */
function shares(candidates: readonly Candidate[], draws: number, given: Partial<Choice> = {}): Map<string, number> {
  const random = seeded(42);
  const counts = new Map<string, number>();
  for (let draw = 0; draw < draws; draw += 1) {
    const chosen = choose(candidates, { random, ...given });
    if (chosen !== undefined) counts.set(chosen.address, (counts.get(chosen.address) ?? 0) + 1 / draws);
  }
  return counts;
}

describe("choosing an endpoint", () => {
  test("in turn: each as often as the others, or by weight; drawn: by weight, whatever the load", () => {
    let turn = 0;
    const inTurn = (candidates: readonly Candidate[]): Map<string, number> => {
      const counts = new Map<string, number>();
      for (let nth = 0; nth < 1_000; nth++) {
        const { address = "" } = choose(candidates, { among: { kind: "turn", turn: turn++ } }) ?? {};
        counts.set(address, (counts.get(address) ?? 0) + 1);
      }
      return counts;
    };
    const four = [candidate(1), candidate(2), candidate(3), candidate(4)];
    assert.deepEqual([...inTurn(four).values()], [250, 250, 250, 250]);
    const [heavy = 0, light = 0] = inTurn([candidate(1, { weight: 3 }), candidate(2)]).values();
    assert.ok(Math.abs(heavy - 750) <= 2 && Math.abs(light - 250) <= 2, `${heavy} ${light}`);
    const load = (each: Candidate): number => (each.address === "10.0.1.1" ? 1_000 : 0);
    const drawn = shares([candidate(1, { weight: 3 }), candidate(2)], 4_000, { among: { kind: "draw" }, load });
    assert.ok(Math.abs((drawn.get("10.0.1.1") ?? 0) - 0.75) < 0.03, `${drawn.get("10.0.1.1")}`);
  });

  test("nobody, one, and nobody healthy", () => {
    assert.equal(choose([]), undefined);
    assert.equal(choose([candidate(1)])?.address, "10.0.1.1");
    assert.equal(choose([candidate(1, { healthy: false })]), undefined);
    const all = { ...even, health: "allow-all" } as const;
    assert.equal(choose([candidate(1, { healthy: false })], { loadBalancing: all })?.address, "10.0.1.1");
    assert.equal(choose([candidate(1, { weight: 0 })]), undefined);
  });

  test("idle endpoints share by weight", () => {
    const counts = shares([candidate(1), candidate(2, { weight: 2 }), candidate(3, { weight: 5 })], 20_000);
    assert.ok(Math.abs((counts.get("10.0.1.1") ?? 0) - 1 / 8) < 0.02);
    assert.ok(Math.abs((counts.get("10.0.1.2") ?? 0) - 2 / 8) < 0.02);
    assert.ok(Math.abs((counts.get("10.0.1.3") ?? 0) - 5 / 8) < 0.02);
  });

  test("connections that stay spread evenly, far closer than chance", () => {
    const random = seeded(9);
    const open = new Map<string, number>();
    const candidates = Array.from({ length: 10 }, (_, index) => candidate(index));
    for (let draw = 0; draw < 1000; draw += 1) {
      const chosen = choose(candidates, { random, load: (one) => open.get(one.address) ?? 0 });
      assert.ok(chosen !== undefined);
      open.set(chosen.address, (open.get(chosen.address) ?? 0) + 1);
    }
    for (const count of open.values()) assert.ok(Math.abs(count - 100) <= 5, `${[...open.values()]}`);
  });

  test("a loaded one is avoided whenever another was drawn with it", () => {
    const counts = shares([candidate(1), candidate(2)], 2000, { load: (one) => (one.address === "10.0.1.1" ? 50 : 0) });
    assert.equal(counts.get("10.0.1.1"), undefined);
  });

  test("rank counts preferences from the start and stops at the first difference", () => {
    const sameZone = workload("a", { node: "n2", locality: { region: "r1", zone: "z1", subzone: "s9" } });
    const otherRegion = workload("b", { node: "n1", locality: { region: "r2", zone: "z1", subzone: "s1" } });
    const preference: readonly LocalityPreference[] = ["network", "region", "zone", "subzone", "node"];
    assert.equal(rankOf(candidate(1, { workload: sameZone }), here, preference), 3);
    assert.equal(rankOf(candidate(1, { workload: otherRegion }), here, preference), 1);
    assert.equal(rankOf(candidate(1, { workload: null }), here, preference), 0);
    assert.equal(rankOf(candidate(1, { workload: otherRegion }), here, ["node", "cluster"]), 2);
  });

  test("failover takes the best rank there is; strict refuses rather than cross", () => {
    const near = candidate(1, { workload: workload("near", { node: "n1" }) });
    const far = candidate(2, { workload: workload("far", { node: "n2" }) });
    const failover: LoadBalancing = { preference: ["node"], mode: "failover", health: "only-healthy" };
    const strict: LoadBalancing = { ...failover, mode: "strict" };
    assert.deepEqual([...shares([near, far], 100, { loadBalancing: failover }).keys()], ["10.0.1.1"]);
    assert.deepEqual([...shares([far], 100, { loadBalancing: failover }).keys()], ["10.0.1.2"]);
    assert.equal(choose([far], { loadBalancing: strict }), undefined);
    // An unhealthy neighbour does not keep failover at home.
    assert.equal(choose([{ ...near, healthy: false }, far], { loadBalancing: failover })?.address, "10.0.1.2");
  });

  test("never an unhealthy or weightless one, strict never crosses, somebody whenever somebody may be chosen", () => {
    const scope = fc.constantFrom<LocalityPreference>("network", "region", "zone", "subzone", "node", "cluster");
    const place = fc.record({
      node: fc.constantFrom("n1", "n2"),
      locality: fc.record({
        region: fc.constantFrom("r1", "r2"),
        zone: fc.constantFrom("z1", "z2"),
        subzone: fc.constantFrom("s1", ""),
      }),
    });
    const one = fc.record({
      place: fc.option(place),
      weight: fc.integer({ min: 0, max: 5 }),
      healthy: fc.boolean(),
      load: fc.nat(9),
    });
    const policy = fc.record({
      preference: fc.uniqueArray(scope),
      mode: fc.constantFrom<LoadBalancing["mode"]>("unspecified", "strict", "failover"),
      health: fc.constantFrom<LoadBalancing["health"]>("only-healthy", "allow-all"),
    });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 8 }), policy, fc.nat(), (list, loadBalancing, seed) => {
        const loads = new Map<string, number>();
        const candidates = list.map(({ place: at, weight, healthy, load }, index) => {
          loads.set(`10.0.1.${index}`, load);
          return candidate(index, { workload: at === null ? null : workload(`w${index}`, at), weight, healthy });
        });
        const load = (one: Candidate): number => loads.get(one.address) ?? 0;
        const chosen = choose(candidates, { loadBalancing, load, random: seeded(seed) });
        const usable = candidates.filter(
          (one) => one.weight > 0 && (one.healthy || loadBalancing.health === "allow-all"),
        );
        const rank = (one: Candidate): number => rankOf(one, here, loadBalancing.preference);
        const full = usable.filter((one) => rank(one) === loadBalancing.preference.length);
        const possible = loadBalancing.mode === "strict" ? full : usable;
        assert.equal(chosen === undefined, possible.length === 0);
        if (chosen === undefined) return;
        assert.ok(possible.includes(chosen));
        if (loadBalancing.mode === "failover") assert.equal(rank(chosen), Math.max(...usable.map(rank)));
      }),
      { numRuns: 2000, verbose: true },
    );
  });
});
