import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { describe, test } from "node:test";
import { call, startServers } from "../../demo/app/roles.ts";
import { until } from "../support/until.ts";
import { type Cluster, type ClusterSpec, createCluster } from "./cluster.ts";
import { cgroup2Mount, sweepDeadBoxes } from "./host.ts";

const pods = (...names: string[]) => names.map((name) => ({ name }));
const two: ClusterSpec = {
  nodes: [
    { name: "node-a", pods: pods("a1", "a2", "a3") },
    { name: "node-b", pods: pods("b1", "b2", "b3") },
  ],
};

/** Every network namespace that some process of this machine lives in. */
function liveNamespaces(): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(pid)) continue;
    try {
      found.add(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      // It ended while we looked.
    }
  }
  return found;
}

type Trace = { readonly dir: string; readonly cgroup: string; readonly namespaces: readonly string[] };

function traceOf(cluster: Cluster): Trace {
  const places = [cluster.wire, cluster.outside, ...cluster.nodes, ...cluster.nodes.flatMap((node) => node.pods)];
  const namespaces = places.map(({ place }) => readlinkSync(`/proc/${place.pid}/ns/net`));
  return { dir: cluster.dir, cgroup: cluster.cgroup, namespaces };
}

function remains(trace: Trace): string[] {
  const live = liveNamespaces();
  return [trace.dir, trace.cgroup]
    .filter((path) => existsSync(path))
    .concat(trace.namespaces.filter((name) => live.has(name)));
}

function untilNothingRemains(trace: Trace): Promise<void> {
  return until(() => remains(trace).length === 0, { what: "nothing remains", seen: () => remains(trace) });
}

/** A cluster owned by a process of its own, so that it can be killed. Its last line of output is its trace. */
async function ownedElsewhere(): Promise<{ owner: ChildProcess; trace: Trace }> {
  const harness = new URL("./cluster.ts", import.meta.url).href;
  const script = `
    import { readlinkSync } from "node:fs";
    const { createCluster } = await import(${JSON.stringify(harness)});
    const cluster = await createCluster(${JSON.stringify(two)});
    cluster.pod("a1").start(["sleep", "1000"]);
    const places = [cluster.wire, cluster.outside, ...cluster.nodes, ...cluster.nodes.flatMap((node) => node.pods)];
    const namespaces = places.map(({ place }) => readlinkSync("/proc/" + place.pid + "/ns/net"));
    console.log(JSON.stringify({ dir: cluster.dir, cgroup: cluster.cgroup, namespaces }));
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  while (!text.includes("\n")) text += String((await once(owner.stdout, "data"))[0]);
  return { owner, trace: JSON.parse(text) as Trace };
}

describe("local cluster", () => {
  test("pods of two nodes reach each other and the outside on both families, and close leaves nothing", async (t) => {
    const start = performance.now();
    const cluster = await createCluster(two);
    t.diagnostic(`created in ${Math.round(performance.now() - start)} ms`);
    const trace = traceOf(cluster);
    try {
      const [a1, a2, b1] = [cluster.pod("a1"), cluster.pod("a2"), cluster.pod("b1")];
      await Promise.all([a2, b1, cluster.outside].map(startServers));
      for (const to of [a2, b1, cluster.outside]) {
        for (const [own, host] of [
          [a1.ip4, to.ip4],
          [`[${a1.ip6}]`, to.ip6],
        ] as const) {
          const result = await call(a1, { host, port: 8080 });
          assert.equal(result.reply?.pod, to.name, JSON.stringify(result));
          assert.ok(result.reply?.peer.startsWith(`${own}:`), JSON.stringify(result));
        }
      }
    } finally {
      await cluster.close();
    }
    assert.deepEqual(remains(trace), []);
  });

  test("a program of a pod is in the pod's cgroup before it starts, and nodes see their own bpffs", async () => {
    const cluster = await createCluster(two);
    try {
      const pod = cluster.pod("b2");
      const seen = await pod.run(["cat", "/proc/self/cgroup"]);
      const expected = path.join(
        "/",
        path.relative(cgroup2Mount(), path.join(cluster.node("node-b").podsCgroup, `pod${pod.uid}`)),
      );
      assert.match(seen.stdout, new RegExp(`^0::${expected}$`, "m"));
      const node = cluster.node("node-a");
      const mounts = await node.run(["cat", "/proc/self/mountinfo"]);
      assert.match(mounts.stdout, new RegExp(` ${node.bpffs} .* - bpf `));
      assert.ok(
        !readFileSync("/proc/self/mountinfo", "utf8").includes(cluster.dir),
        "nothing is mounted outside the node",
      );
    } finally {
      await cluster.close();
    }
  });

  test("two at once do not disturb each other", async () => {
    const [first, other] = await Promise.all([createCluster(two), createCluster(two)]);
    try {
      await startServers(other.pod("b1"));
      await first.close();
      assert.deepEqual(sweepDeadBoxes().includes(other.id), false);
      const result = await call(other.pod("a1"), { host: other.pod("b1").ip4, port: 8080 });
      assert.equal(result.reply?.pod, "b1");
    } finally {
      await Promise.all([first.close(), other.close()]);
    }
  });

  test("an application that fails by itself fails the close; neither a signal nor a status that was asked for does", async () => {
    const [crashing, calm] = await Promise.all([createCluster(two), createCluster(two)]);
    try {
      const trace = traceOf(crashing);
      const crashed = crashing.pod("a1").start(["sh", "-c", "echo out of luck >&2; exit 3"]);
      crashing.pod("a2").start(["sh", "-c", "exit 0"]);
      const asked = calm.pod("a1").start(["sh", "-c", "exit 3"]);
      const killed = calm.pod("a2").start(["sh", "-c", "trap 'exit 4' TERM; echo up; while :; do sleep 0.1; done"]);
      await killed.line(60_000);
      assert.equal((await asked.finished).status, 3);
      assert.equal((await killed.stop()).status, 4);
      await until(() => !crashed.running);
      await assert.rejects(crashing.close(), /a1: .*status 3: out of luck/);
      assert.deepEqual(remains(trace), []);
      await calm.close();
    } finally {
      await Promise.allSettled([crashing.close(), calm.close()]);
    }
  });

  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    test(`${signal} to its owner leaves nothing`, async () => {
      const { owner, trace } = await ownedElsewhere();
      owner.kill(signal);
      await untilNothingRemains(trace);
    });
  }

  test("kill -9 of everything leaves nothing once the next one has started", async () => {
    const { owner, trace } = await ownedElsewhere();
    const janitors = readdirSync("/proc").filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").endsWith(`\0${trace.cgroup}\0${trace.dir}\0`);
      } catch {
        return false; // Not a process, or it ended.
      }
    });
    assert.equal(janitors.length, 1);
    process.kill(Number(janitors[0]), "SIGKILL");
    const ended = once(owner, "exit");
    owner.kill("SIGKILL");
    await ended;
    assert.ok(existsSync(trace.cgroup), "nobody has swept yet");
    const next = await createCluster({ nodes: [] });
    await next.close();
    await untilNothingRemains(trace);
  });

  test("on failure nothing of it stays", async () => {
    const twice = { nodes: [{ name: "node-a", pods: pods("same", "same") }] };
    await assert.rejects(createCluster(twice), /two things in the cluster are called same/);
    const boxes = existsSync("/run/orlop-box") ? readdirSync("/run/orlop-box") : [];
    const ours = boxes.filter((box) => {
      const owner = path.join("/run/orlop-box", box, "owner");
      return existsSync(owner) && readFileSync(owner, "utf8").startsWith(`${process.pid} `);
    });
    assert.deepEqual(ours, []);
  });
});

describe("cgroup v2 mount", () => {
  const v1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n";
  test("hybrid", () => {
    const text = `${v1}41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n`;
    assert.equal(cgroup2Mount(text), "/sys/fs/cgroup/unified");
  });
  test("pure, with optional fields and an escaped space", () => {
    const text = "41 31 0:38 / /sys/fs/c\\040group rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    assert.equal(cgroup2Mount(text), "/sys/fs/c group");
  });
  test("v1 only is refused", () => assert.throws(() => cgroup2Mount(v1), /no cgroup v2 hierarchy/));
});
