// test cluster · names and addresses of the plan, and what the nodes' answers say.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readyNodes } from "./api.ts";
import { hierarchies } from "./cgroups.ts";
import { planCluster } from "./plan.ts";

test("every node has addresses, subnets and a folder of its own", () => {
  const { nodes, control } = planCluster("plan", 9);
  const all = nodes.flatMap(({ addresses, pods, dir }) => [addresses.ip4, addresses.ip6, pods.ip4, pods.ip6, dir]);
  assert.equal(new Set([...all, control.ip4, control.ip6]).size, 9 * 5 + 2);
});

test("a name that is no plain word, and a count that the addresses do not hold, are refused", () => {
  for (const name of ["", "..", "a/b", "A", "-a", "a b", "a".repeat(21)])
    assert.throws(() => planCluster(name, 1), /not a name/, name);
  for (const count of [0, 10, 1.5, Number.NaN]) assert.throws(() => planCluster("plan", count), /1 to 9 nodes/);
});

test("only a node whose condition Ready is True is ready", () => {
  const node = (name: string, status?: string) => ({
    metadata: { name },
    ...(status === undefined ? {} : { status: { conditions: [{ type: "Ready", status }] } }),
  });
  const list = { items: [node("a", "True"), node("b", "False"), node("c", "Unknown"), node("d")] };
  assert.deepEqual(readyNodes(JSON.stringify(list)), ["a"]);
});

test("hierarchies of a hybrid machine and of one with cgroup v2 alone", () => {
  const line = (point: string, type: string) => `30 23 0:26 / ${point} rw,relatime shared:9 - ${type} ${type} rw`;
  const hybrid = [
    line("/sys/fs/cgroup", "tmpfs"),
    line("/sys/fs/cgroup/cpu", "cgroup"),
    line("/sys/fs/cgroup/unified", "cgroup2"),
    line("/mnt/elsewhere", "cgroup2"),
  ];
  assert.deepEqual(hierarchies(hybrid.join("\n")), [
    { point: "/sys/fs/cgroup/cpu", version: 1 },
    { point: "/sys/fs/cgroup/unified", version: 2 },
  ]);
  assert.deepEqual(hierarchies(line("/sys/fs/cgroup", "cgroup2")), [{ point: "/sys/fs/cgroup", version: 2 }]);
});
