// Which endpoint of a Service a routed request goes to, seen over many requests: by cost, and by what ignores cost.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { workload } from "../mesh/mesh.fake.ts";
import type { RequestBalancing } from "../mesh/traffic-policy.ts";
import { Routed } from "./routed-request.fake.ts";

describe("requests are balanced for each caller", () => {
  /** Ten endpoints, of which the fourth takes ten times as long; the share that it got. */
  function shareOfSlow(requests: RequestBalancing): { readonly slow: number; readonly most: number } {
    const routed = new Routed("shop/api", {}, requests);
    const { bench } = routed;
    for (let nth = 2; nth <= 10; nth++)
      bench.mesh.replace(workload(`api-${nth}`, { addresses: [`10.0.1.${nth}`], node: "n2", labels: { app: "api" } }));
    const got = new Map<string, number>();
    const ref = routed.open();
    for (let nth = 1; nth <= 1_000; nth++) {
      const { origin = 0 } = routed.forward(ref, nth);
      const to = bench.engine.origins.get(origin)?.route.to.address ?? "";
      got.set(to, (got.get(to) ?? 0) + 1);
      const answeredUs = to === "10.0.1.4" ? 50_000 : 5_000;
      bench.clock.advance(answeredUs / 1_000);
      routed.end(ref, nth, "answered", 200, answeredUs);
    }
    assert.deepEqual(bench.faults, []);
    return { slow: (got.get("10.0.1.4") ?? 0) / 1_000, most: Math.max(...got.values()) / 1_000 };
  }

  test("by cost: who is ten times as slow has 2 % at most, and no other has it all", () => {
    const { slow, most } = shareOfSlow("cost");
    assert.ok(slow <= 0.02 && most < 0.2, `${slow} ${most}`);
  });

  test("round robin, random and least request do not look at latency", () => {
    assert.deepEqual(shareOfSlow("round-robin"), { slow: 0.1, most: 0.1 });
    for (const each of ["random", "least-request"] as const) {
      const { slow, most } = shareOfSlow(each);
      assert.ok(slow > 0.06 && most < 0.15, `${each}: ${slow} ${most}`);
    }
  });

  test("a try that failed costs its endpoint the requests that follow", () => {
    const routed = new Routed();
    const { bench } = routed;
    bench.mesh.replace(workload("api-4", { addresses: ["10.0.0.4"], node: "n2", labels: { app: "api" } }));
    const refused = { failure: "not-reached", status: 111, cause: "connect-failed", isSent: false } as const;
    const ref = routed.open();
    let failures = 0;
    for (let nth = 1; nth <= 200; nth++) {
      const { origin = 0 } = routed.forward(ref, nth);
      if (bench.engine.origins.get(origin)?.route.to.address === "10.0.0.4") {
        failures += 1;
        assert.equal(routed.fail(ref, nth, refused).type, "forward");
      }
      bench.clock.advance(1);
      routed.end(ref, nth, "answered", 200, 1_000);
    }
    assert.ok(failures >= 1 && failures <= 10, `${failures}`);
  });
});
