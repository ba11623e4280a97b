import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMesh, workload } from "../mesh/mesh.fake.ts";
import { limit } from "../policy/policy.fake.ts";
import { limitFindings, limitViews } from "./limit-views.ts";

const mesh = new FakeMesh(
  [
    workload("api", { labels: { app: "api" } }),
    workload("api-2", { labels: { app: "api" }, node: "n2" }),
    workload("api-3", { labels: { app: "api" }, node: "n2" }),
  ],
  [],
);
mesh.limits.push(
  limit("orders", { selector: { app: "api" }, requests: 100, burst: 20, per: [{ by: "header", name: "x-user" }] }),
  limit("nobody", { selector: { app: "apu" } }),
);

test("a limit is shown with the pods that it selects here and in all, what they take together, and what the threads have counted", () => {
  const state = { admitted: 7, limited: 3, overflowed: 1, keys: 2 };
  const limitState = (name: string) => (name === "shop/orders" ? state : undefined);
  const [orders, nobody] = limitViews({ mesh, node: "n1", limitState });
  const { selects, here, limit: each, nodeLimit, meshLimit, per, scope } = orders ?? assert.fail("none");
  assert.deepEqual([here, selects, each, nodeLimit, meshLimit], [1, 3, "100/second", "100/second", "300/second"]);
  assert.deepEqual([per, scope], ["header x-user", "app=api"]);
  assert.deepEqual([orders?.admitted, orders?.limited, orders?.overflowed, orders?.keys], [7, 3, 1, 2]);
  assert.deepEqual([nobody?.selects, nobody?.admitted], [0, 0]);
});

test("orlop check names a limit that selects nothing, and no other", () => {
  assert.deepEqual(
    limitFindings({ mesh, node: "n1" }).map(({ code, what }) => `${code} ${what.slice(what.indexOf("LimitPolicy"))}`),
    ["ORL4114 LimitPolicy shop/nobody selects no workload"],
  );
});
