// Endpoints that fail, as the requests of served connections meet them: a whole thread's traffic on a fake engine.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Answer } from "../engine/answers.ts";
import type { ConnRef, RequestEnded } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import { httpRoute, routeBackend, service, workload } from "../mesh/mesh.fake.ts";
import type { LocalityPreference } from "../mesh/service.ts";
import { nowhere } from "../mesh/source-ref.ts";
import type { OutlierDetection, TrafficPolicy } from "../mesh/traffic-policy.ts";
import { EjectionCells } from "./ejection-cells.ts";
import { MOST_RATES, RateCells } from "./rate-cells.ts";
import { newSharedState } from "./shared-state.ts";
import { Bench } from "./traffic.fake.ts";

const nothing: TrafficPolicy = {
  outliers: null,
  maxRequests: null,
  hash: null,
  balance: null,
  warmUp: null,
  from: nowhere,
};
const vip = { address: "10.96.0.1", port: 80 };
const outliers: OutlierDetection = {
  ...{ consecutive5xx: 3, consecutiveGateway: 0, baseMs: 10_000, maxEjected: 50, minHealthy: 0 },
};

/** The first two are in the caller's zone. */
const zoneOf = (nth: number) => ({ region: "", zone: nth < 2 ? "" : "b", subzone: "" });

class Failing {
  readonly bench: Bench;
  readonly cells: EjectionCells;
  #ref: ConnRef;
  #request = 0;

  constructor(
    endpoints: number,
    given: Partial<OutlierDetection> = {},
    shared = newSharedState(1),
    traffic: Partial<TrafficPolicy> = {},
    preference: readonly LocalityPreference[] = [],
  ) {
    this.cells = new EjectionCells(shared.ejections);
    this.bench = new Bench({ settle: () => "http", readsPaths: () => true, among: { thread: 0, threads: 1, shared } });
    const { mesh } = this.bench;
    const mode = preference.length === 0 ? "unspecified" : "failover";
    const loadBalancing = { preference, mode, health: "only-healthy", requests: "round-robin" } as const;
    mesh.serviceList = [
      service("api", {
        loadBalancing,
        traffic: { ...nothing, outliers: { ...outliers, ...given }, ...traffic },
      }),
    ];
    mesh.list = [
      ...mesh.list.filter(({ name }) => name !== "api"),
      ...Array.from({ length: endpoints }, (_, nth) =>
        workload(`api-${nth}`, {
          addresses: [`10.0.1.${nth}`],
          node: "n2",
          labels: { app: "api" },
          locality: zoneOf(nth),
        }),
      ),
    ];
    mesh.routes.push(httpRoute("shop/api", {}, { backends: [routeBackend("shop/api")] }));
    this.bench.serve();
    this.#ref = this.#served();
  }

  #served(): ConnRef {
    const event = this.bench.outbound(vip);
    assert.equal(this.bench.engine.feed(event)?.type, "serve");
    return event;
  }

  /** What follows comes on another connection. */
  open(): this {
    this.#ref = this.#served();
    return this;
  }

  /** The endpoint's last octet; undefined: the answer was ours. */
  ask(target = "/"): {
    readonly at: number | undefined;
    readonly answer: Answer | undefined;
    readonly end: (status: number, grpcStatus?: number) => void;
  } {
    const { conn, generation } = this.#ref;
    const request = ++this.#request;
    const asked = { podIdx: 1, request, protocol: "http1", method: "GET", target, authority: "api" } as const;
    const fields = new RequestFields(Buffer.alloc(0), 0, 0);
    const answer = this.bench.engine.feed({ type: "request", conn, generation, ...asked, fields });
    const origin = answer?.type === "forward" ? this.bench.engine.origins.get(answer.origin ?? 0) : undefined;
    const to = origin?.route.to.address.split(".").at(-1);
    const sizes = { requestBytes: 1, responseBytes: 2, durationUs: 3, answeredUs: 2, refusal: "none" } as const;
    const end = (status: number, grpcStatus?: number): void => {
      const outcome: RequestEnded["outcome"] =
        answer?.type !== "forward" ? "replied" : status === 0 ? "reset-by-downstream" : "answered";
      this.bench.engine.feed({
        type: "request-ended",
        conn,
        generation,
        podIdx: 1,
        request,
        outcome,
        status,
        grpcStatus,
        ...sizes,
      });
    };
    return { at: to === undefined ? undefined : Number(to), answer, end };
  }

  /** By endpoint, how many of `count` requests it got; `failing` answers 500. */
  share(count: number, failing: readonly number[]): ReadonlyMap<number | undefined, number> {
    const got = new Map<number | undefined, number>();
    for (let nth = 0; nth < count; nth += 1) {
      const { at, end } = this.ask();
      got.set(at, (got.get(at) ?? 0) + 1);
      end(at === undefined ? 503 : failing.includes(at) ? 500 : 200);
    }
    return got;
  }
}

describe("an endpoint that fails again and again", () => {
  test("is also known by calls of gRPC, which are answered 200 whatever happens", () => {
    const mesh = new Failing(4);
    const share = (nothing: number): number => {
      let got = 0;
      for (let nth = 0; nth < 100; nth += 1) {
        const { at, end } = mesh.ask();
        if (at === 2) got += 1;
        end(200, at === 2 ? nothing : 0);
      }
      return got;
    };
    assert.ok(share(5) > 3, "NOT_FOUND is the caller's");
    assert.equal(share(14), 3);
    assert.equal(share(14), 0);
  });

  test("gets nothing more, until a single request finds out that it serves again", () => {
    const mesh = new Failing(4);
    assert.equal(mesh.share(100, [2]).get(2), 3);
    assert.equal(mesh.share(100, [2]).get(2), undefined);
    assert.deepEqual(mesh.cells.counts.ejections[0], { reason: "consecutive-5xx", count: 1 });
    mesh.bench.clock.advance(9_990);
    assert.equal(mesh.share(20, []).get(2), undefined);
    mesh.bench.clock.advance(10);
    const probe = mesh.ask();
    assert.equal(probe.at, 2);
    probe.end(500);
    assert.equal(mesh.share(20, []).get(2), undefined, "it has failed that");
    mesh.bench.clock.advance(19_999);
    assert.equal(mesh.share(20, []).get(2), undefined, "twice as long");
    mesh.bench.clock.advance(1);
    assert.equal(mesh.share(40, []).get(2), 11, "the probe, and then its share");
    assert.deepEqual([mesh.cells.counts.probes, mesh.cells.counts.returned], [2, 1]);
    assert.deepEqual(mesh.bench.faults, []);
  });

  test("whose probe says nothing, since its caller has left, is probed by the next", () => {
    const mesh = new Failing(2);
    mesh.share(20, [1]);
    mesh.bench.clock.advance(10_000);
    const left = mesh.ask();
    assert.equal(left.at, 1);
    left.end(0);
    const next = mesh.ask();
    assert.equal(next.at, 1);
    next.end(200);
    assert.equal(mesh.share(20, []).get(1), 10);
  });

  test("the only endpoint: the caller is answered 503 at once, until a probe succeeds", () => {
    const mesh = new Failing(1, { maxEjected: 100 });
    assert.deepEqual(
      [...mesh.share(10, [0])],
      [
        [0, 3],
        [undefined, 7],
      ],
    );
    const refused = mesh.ask();
    assert.ok(refused.answer?.type === "reply" && refused.answer.status === 503);
    refused.end(503);
    assert.equal(mesh.bench.requests.at(-1)?.flag, "UH");
    mesh.bench.clock.advance(10_000);
    assert.deepEqual([...mesh.share(3, [])], [[0, 3]]);
  });

  test("panic: where more fail than the rule can spare, all are used", () => {
    const mesh = new Failing(4, { maxEjected: 100, minHealthy: 50 });
    mesh.share(100, [0, 1, 2]);
    const got = mesh.share(100, [0, 1, 2]);
    assert.deepEqual(
      [0, 1, 2, 3].map((at) => got.get(at)),
      [25, 25, 25, 25],
    );
  });

  test("what other threads have learned counts", () => {
    const shared = newSharedState(1);
    const [one, other] = [new Failing(4, {}, shared), new Failing(4, {}, shared)];
    one.share(40, [2]);
    assert.equal(other.share(40, []).get(2), undefined);
  });
});

describe("success rates", () => {
  const successRate = { intervalMs: 1_000, minimumHosts: 5, requestVolume: 10, stdevFactor: 1.9 };
  /** Every second request of endpoint 2 fails, so that no failures follow each other, for two intervals and a request. */
  const served = (mesh: Failing, isFull: boolean): ReadonlyMap<number | undefined, number> => {
    for (let interval = 0; interval < 2; interval += 1) {
      for (let nth = 0; nth < 60; nth += 1) mesh.share(5, nth % 2 === 0 ? [2] : []);
      assert.equal(mesh.cells.counts.untracked > 0, isFull);
      mesh.bench.clock.advance(1_000);
    }
    return mesh.share(50, []);
  };

  test("leave out who is served worse; where there is no room nobody is compared, which is counted, and failures in a row count still", () => {
    const compared = new Failing(5, { successRate });
    assert.equal(served(compared, false).get(2), undefined);
    assert.equal(compared.cells.counts.untracked, 0);

    const shared = newSharedState(1);
    const rates = new RateCells(shared.rates);
    for (let name = 0; name < 4 * MOST_RATES; name += 1) rates.add(rates.keyOf(`other ${name}`), true, 0, 1_000);
    const full = new Failing(5, { successRate }, shared);
    assert.equal(served(full, true).get(2), 10, "it is used as without a success rate");
    // Each request that has ended, and a comparison that was left out in each interval.
    assert.equal(full.cells.counts.untracked, 650 + 3);
    full.share(50, [2]);
    assert.equal(full.share(50, [2]).get(2), undefined);
    // Ten minutes later the others have made room.
    full.bench.clock.advance(700_000);
    const before = full.cells.counts.untracked;
    assert.equal(served(full, true).get(2), undefined);
    assert.equal(full.cells.counts.untracked, before);
  });
});

test("requests beyond the cap are answered 503, whatever thread the others are on; each that ends makes room for another", () => {
  const shared = newSharedState(1);
  const [one, other] = [new Failing(2, {}, shared, { maxRequests: 3 }), new Failing(2, {}, shared, { maxRequests: 3 })];
  const underWay = [one.open().ask(), one.open().ask(), other.ask()];
  for (const { at } of underWay) assert.notEqual(at, undefined);
  for (const mesh of [one, other]) {
    const refused = mesh.open().ask();
    assert.ok(refused.answer?.type === "reply" && refused.answer.status === 503);
    assert.deepEqual(refused.answer.headers, [{ op: "set", name: "x-envoy-overloaded", value: "true" }]);
    refused.end(503);
    assert.deepEqual([mesh.bench.requests.at(-1)?.flag, mesh.bench.requests.at(-1)?.route?.answer], ["UO", "overflow"]);
  }
  underWay[0]?.end(0);
  const next = other.open().ask();
  assert.notEqual(next.at, undefined);
  assert.equal(one.open().ask().at, undefined);
  next.end(200);
  underWay[1]?.end(500);
  underWay[2]?.end(200);
  assert.deepEqual(
    [1, 2, 3, 4].map(() => one.open().ask().at === undefined),
    [false, false, false, true],
  );
});

test("connections are kept as the rule of the request's own Service says, and a rule that changes gives the next request another origin", () => {
  const pool = { connectMs: 1_000, idleMs: 5_000, mostRequests: 100 };
  const mesh = new Failing(1, {}, newSharedState(1), { pool });
  const originOf = (): number => {
    const { answer, end } = mesh.ask();
    end(200);
    return answer?.type === "forward" ? (answer.origin ?? 0) : 0;
  };
  const first = originOf();
  assert.deepEqual(mesh.bench.engine.origins.get(first)?.pool, pool);
  assert.equal(originOf(), first);
  const [api] = mesh.bench.mesh.serviceList;
  assert.ok(api?.traffic !== undefined);
  mesh.bench.mesh.serviceList = [{ ...api, traffic: { ...api.traffic, pool: { ...pool, idleMs: 6_000 } } }];
  const next = originOf();
  assert.notEqual(next, first);
  assert.equal(mesh.bench.engine.origins.get(next)?.pool?.idleMs, 6_000);
});

test("requests of a key go to one endpoint while it serves, to another while it is left out, and back", () => {
  const hash = { key: { of: "query", name: "user" }, table: { kind: "maglev", size: 251 } } as const;
  const mesh = new Failing(5, {}, newSharedState(1), { hash });
  const of = (user: string, status: number): number | undefined => {
    const { at, end } = mesh.ask(`/?user=${user}`);
    end(status);
    return at;
  };
  const users = Array.from({ length: 40 }, (_, nth) => `u${nth}`);
  const first = users.map((user) => of(user, 200));
  assert.deepEqual(
    users.map((user) => of(user, 200)),
    first,
  );
  assert.equal(new Set(first).size, 5);
  const [ann = ""] = users;
  for (let nth = 0; nth < 3; nth += 1) assert.equal(of(ann, 500), first[0]);
  const moved = users.map((user) => of(user, 200));
  for (const [index, at] of moved.entries()) {
    if (first[index] === first[0]) assert.notEqual(at, first[0]);
    else assert.equal(at, first[index]);
  }
  mesh.bench.clock.advance(10_000);
  assert.equal(of("anybody", 200), first[0], "the probe");
  assert.deepEqual(
    users.map((user) => of(user, 200)),
    first,
  );
});

test("failover: where those of the caller's zone fail, others have its requests, until one of them is back", () => {
  const mesh = new Failing(4, { maxEjected: 50 }, newSharedState(1), {}, ["zone"]);
  const among = (failing: readonly number[]): readonly number[] =>
    [...mesh.share(40, failing).keys()].flatMap((at) => at ?? []).toSorted();
  assert.deepEqual(among([]), [0, 1]);
  mesh.share(40, [0]);
  assert.deepEqual(among([0]), [1]);
  mesh.share(40, [0, 1]);
  assert.deepEqual(among([0, 1]), [2, 3]);
  mesh.bench.clock.advance(10_000);
  mesh.share(2, [1]);
  assert.deepEqual(among([1]), [0]);
});

test("an endpoint that comes has a tenth of its share at first, and all of it in the end; so has one that is back", () => {
  const warmUp = { durationMs: 10_000, minimumPercent: 10, aggression: 1 };
  const mesh = new Failing(4, { consecutive5xx: 0 }, newSharedState(1), { balance: "random", warmUp });
  const { mesh: world } = mesh.bench;
  const share = (at: number): number => (mesh.share(4_000, []).get(at) ?? 0) / 4_000;
  const near = (found: number, wanted: number): void =>
    assert.ok(Math.abs(found - wanted) < 0.03, `${found} in place of ${wanted}`);
  near(share(3), 0.25);
  const third = world.list.find(({ name }) => name === "api-3");
  assert.ok(third !== undefined);
  for (const _ of ["first", "again"]) {
    world.replace({ ...third, healthy: false });
    assert.equal(share(3), 0);
    world.replace(third);
    near(share(3), 0.1 / 3.1);
    mesh.bench.clock.advance(5_000);
    near(share(3), 0.5 / 3.5);
    mesh.bench.clock.advance(5_000);
    near(share(3), 0.25);
  }
});
