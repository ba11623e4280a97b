// Copies of routed requests: over which origins they go, what ends them, and that their requests never wait for them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { routeBackend } from "../mesh/mesh.fake.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import { policyChanged, Routed } from "./routed-request.fake.ts";
import { near } from "./traffic.fake.ts";

describe("mirrors of a rule", () => {
  const mirror = (to: string) => ({ backend: routeBackend(to), numerator: 1, denominator: 1 });

  test("a copy goes over an origin of its own, also where its request goes, and only with the first try", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/api"), mirror("shop/near")] });
    const { bench } = routed;
    const ref = routed.open();
    const first = routed.forward(ref, 1);
    assert.equal(first.mirrors?.length, 2);
    const origins = [first.origin, ...(first.mirrors ?? []).map(({ origin }) => origin)];
    assert.equal(new Set(origins).size, 3);
    routed.end(ref, 1);
    const again = routed.forward(ref, 2);
    assert.deepEqual([again.origin, ...(again.mirrors ?? []).map(({ origin }) => origin)], origins, "and is known");
    const lost = routed.fail(ref, 2, { failure: "not-reached", isSent: false, cause: "connect-failed", status: 111 });
    assert.ok(lost.type !== "forward" || lost.mirrors === undefined);
    routed.end(ref, 2);
    assert.deepEqual(bench.requests.at(-1)?.mirrors, ["shop/api:80", "shop/near:80"]);
  });

  test("copies between pods of this node lose their origins when a policy or a pod changes; others keep theirs", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/near"), mirror("shop/api")] });
    const { bench } = routed;
    bench.judge = () => allow;
    const ref = routed.open();
    const { mirrors: before = [] } = routed.forward(ref, 1);
    assert.deepEqual(
      before.map(({ origin }) => bench.engine.origins.get(origin)?.route.type),
      ["dial", "tunnel"],
    );
    bench.traffic.storeChanged(policyChanged);
    assert.deepEqual(
      before.map(({ origin }) => bench.engine.origins.has(origin)),
      [false, true],
    );
    routed.end(ref, 1);
    const { mirrors: after = [] } = routed.forward(ref, 2);
    assert.notEqual(after[0]?.origin, before[0]?.origin, "a number that is gone may be on its way");
    assert.equal(after[1]?.origin, before[1]?.origin);
    bench.judge = () => deny("denied-by-policy");
    bench.traffic.storeChanged(policyChanged);
    routed.end(ref, 2);
    assert.deepEqual(
      routed.forward(ref, 3).mirrors?.map(({ origin }) => origin),
      [after[1]?.origin],
    );
  });

  test("an exception while a copy is planned costs that copy alone: neither its request nor another copy", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/near"), mirror("shop/api")] });
    const { bench } = routed;
    bench.judge = ({ destination }) => {
      if (destination.uid === near.uid) throw new Error("injected");
      return allow;
    };
    const ref = routed.open();
    const { mirrors = [] } = routed.forward(ref, 1);
    assert.deepEqual(
      mirrors.map(({ origin }) => bench.engine.origins.get(origin)?.route.type),
      ["tunnel"],
    );
    routed.end(ref, 1);
    assert.deepEqual(bench.requests.at(-1)?.mirrors, ["shop/api:80"]);
    assert.deepEqual(bench.recorder.takeDeltas().mirrored, { "internal-error": 1 });
    assert.deepEqual([bench.reported, bench.faults], [["copy-fault"], []]);
  });

  test("what may not be sent, or ends, is counted, and its request goes on", () => {
    const routed = new Routed("shop/api", { mirrors: [mirror("shop/near"), mirror("shop/none"), mirror("shop/gone")] });
    const { bench } = routed;
    bench.judge = ({ destination }) => (destination.uid === near.uid ? deny("denied-by-policy") : allow);
    const ref = routed.open();
    assert.equal(routed.forward(ref, 1).mirrors, undefined);
    routed.end(ref, 1);
    assert.equal(bench.requests.at(-1)?.mirrors, undefined);
    for (const end of ["answered", "too-large", "answered"] as const)
      bench.engine.feed({ type: "mirror-ended", podIdx: 1, end });
    assert.deepEqual(bench.recorder.takeDeltas().mirrored, {
      ...{ policy: 1, "no-endpoint": 1, "bad-backend": 1, answered: 2, "too-large": 1 },
    });
    assert.deepEqual(bench.faults, []);
  });
});
