// Who of the node is let in, as processes and cgroups come and go: rows and links in a double of the kernel.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NodeAccess, type NodeAccessSettings } from "./node-access.ts";
import type { NodeProcess } from "./node-programs.ts";
import type { Access } from "./node-rows.ts";
import { MAX_PACKET_BYTES } from "./protocol.ts";

const netns = { dev: 4n, ino: 1n };
const kubelet = (pid: number, cgroup: string, name = "kubelet"): NodeProcess => ({
  process: { pid, startTicks: BigInt(pid) },
  name,
  uids: [0, 0],
  netns,
  cgroup,
});

function world(settings: Partial<NodeAccessSettings>) {
  const state = {
    processes: [] as NodeProcess[],
    ids: new Map<string, bigint>([
      ["/cg", 1n],
      ["/cg/pods", 2n],
      ["/cg/kubelet", 10n],
      ["/cg/k3s", 11n],
      ["/cg/exporter", 12n],
    ]),
    now: 0,
    searches: 0,
    access: null as Access | null,
    cgroups: new Set<bigint>(),
    attached: new Map<bigint, string>(),
    refuses: false,
    refusesAccess: false,
    log: [] as string[],
  };
  const say = (message: string): void => void state.log.push(message);
  const access = new NodeAccess({
    settings: { mode: "none", kubeletCgroup: "", from: [], ...settings },
    tree: {
      tree: () => ({ mount: "/cg", podsCgroup: "/cg/pods" }),
      nodeNetns: () => ({ path: "/proc/1/ns/net", id: netns }),
      kubelets: () => {
        state.searches++;
        return state.processes;
      },
      isStill: (process) => state.processes.includes(process),
      cgroupId: (directory) => state.ids.get(directory),
      named: (text) => {
        const directory = `/cg/${text.replace(".service", "")}`;
        return state.ids.has(directory) ? { state: "found", directory } : { state: "absent" };
      },
    },
    rows: {
      setAccess: (value) => {
        if (state.refusesAccess) throw new Error("EINTR");
        state.access = value;
      },
      cgroups: () => [...state.cgroups],
      addCgroup: (id) => void state.cgroups.add(id),
      removeCgroup: (id) => void state.cgroups.delete(id),
      attach: (id, directory) => {
        if (state.refuses) throw new Error("ENODEV");
        state.attached.set(id, directory);
      },
      detach: (id) => void state.attached.delete(id),
      attached: () => [...state.attached.keys()],
    },
    cookieOf: async () => 77n,
    log: { debug: say, info: say, warn: say, error: say },
    now: () => state.now,
  });
  return { state, access };
}

test("what could not be taken out at once is taken out by the next look, which says that something is let in no more", async () => {
  const { state, access } = world({ mode: "kubelet" });
  state.processes = [kubelet(40, "/cg/kubelet")];
  await access.look();
  assert.deepEqual([...state.cgroups], [10n]);
  const processes = state.processes;
  state.processes = [];
  state.refusesAccess = true;
  await assert.rejects(access.look(), /EINTR/);
  assert.deepEqual([...state.cgroups], []);
  // By then it is wanted as before.
  state.processes = processes;
  state.refusesAccess = false;
  state.now += 3_600_000;
  assert.equal(await access.look(), true);
  assert.deepEqual([...state.cgroups], [10n]);
  assert.equal(await access.look(), false);
});

test("none: nobody, and what an earlier keeper let in goes", async () => {
  const { state, access } = world({});
  state.cgroups.add(9n);
  state.attached.set(9n, "/cg/old");
  assert.equal(await access.look(), true);
  assert.deepEqual([state.access, [...state.cgroups], [...state.attached]], [null, [], []]);
  assert.deepEqual(access.view(), { mode: "none", programs: [], problem: "" });
  assert.equal(await access.look(), false);
});

test("kubelet: its cgroup, looked for again when it ends; nobody meanwhile", async () => {
  const { state, access } = world({ mode: "kubelet" });
  await access.look();
  assert.equal(state.access, null);
  assert.match(access.view().problem, /no process/);
  const first = kubelet(40, "/cg/kubelet");
  state.processes = [first];
  await access.look();
  assert.equal(state.cgroups.size, 0, "not searched at each look");
  state.now += 1_000;
  await access.look();
  assert.deepEqual([...state.cgroups], [10n]);
  assert.deepEqual([...state.attached], [[10n, "/cg/kubelet"]]);
  assert.deepEqual(state.access, { netnsCookie: 77n, podsCgroup: 2n, everybody: false });
  assert.deepEqual(access.view().programs, [{ role: "kubelet", name: "kubelet", pid: 40, cgroup: "/cg/kubelet" }]);
  const { searches } = state;
  for (let look = 0; look < 5; look++) assert.equal(await access.look(), false);
  assert.equal(state.searches, searches);
  state.processes = [];
  assert.equal(await access.look(), true, "at once");
  assert.deepEqual([state.access, state.cgroups.size, state.attached.size], [null, 0, 0]);
  state.processes = [kubelet(41, "/cg/k3s", "k3s-server")];
  state.now += 1_000;
  await access.look();
  assert.deepEqual([...state.cgroups], [11n]);
  assert.ok(state.log.some((line) => line.includes("API server")));
});

test("a second kubelet: nobody, until a single one is left", async () => {
  const { state, access } = world({ mode: "kubelet" });
  state.processes = [kubelet(40, "/cg/kubelet")];
  await access.look();
  state.processes.push(kubelet(50, "/cg/k3s", "k3s-server"));
  state.now += 10_000;
  assert.equal(await access.look(), true);
  assert.equal(state.cgroups.size, 0);
  assert.match(access.view().problem, /several may be the kubelet: kubelet \(pid 40, .*k3s-server \(pid 50/);
  state.processes.shift();
  state.now += 1_000;
  await access.look();
  assert.deepEqual([...state.cgroups], [11n]);
});

test("of very many that qualify a few are named, and what is said fits into a packet", async () => {
  const { state, access } = world({
    mode: "kubelet",
    from: Array.from({ length: 32 }, (_, at) => `${"x".repeat(4_000)}${at}.service`),
  });
  state.processes = Array.from({ length: 5_000 }, (_, at) => kubelet(at + 1, `/cg/${"y".repeat(3_000)}${at}`));
  await access.look();
  assert.equal(state.cgroups.size, 0);
  assert.match(access.view().problem, / and 4995 more; there is no cgroup x/);
  assert.ok(JSON.stringify(access.view()).length < MAX_PACKET_BYTES / 2);
});

test("cgroups that are named, in place of the search and besides; a pod's is refused, a missing one waits", async () => {
  const { state, access } = world({
    mode: "kubelet",
    kubeletCgroup: "k3s.service",
    from: ["exporter.service", "new.service", "pods"],
  });
  state.processes = [kubelet(40, "/cg/kubelet")];
  await access.look();
  assert.deepEqual([...state.cgroups], [11n, 12n]);
  assert.equal(state.searches, 0);
  assert.equal(access.view().problem, "there is no cgroup new.service; pods lies in the cgroup of pods");
  state.ids.set("/cg/new", 13n);
  assert.equal(await access.look(), false, "more is no reason to judge again");
  assert.deepEqual([...state.cgroups], [11n, 12n, 13n]);
  state.ids.set("/cg/exporter", 22n);
  assert.equal(await access.look(), true, "made anew, so another");
  assert.deepEqual([...state.cgroups].toSorted(), [11n, 13n, 22n]);
});

test("the whole node: the root of the tree, and no cgroup by name", async () => {
  const { state, access } = world({ mode: "node" });
  await access.look();
  assert.deepEqual(state.access, { netnsCookie: 77n, podsCgroup: 2n, everybody: true });
  assert.deepEqual([...state.attached], [[1n, "/cg"]]);
  assert.equal(state.cgroups.size, 0);
  access.remove();
  assert.deepEqual([state.access, state.attached.size], [null, 0]);
});

test("without the cgroup of pods nobody is let in", async () => {
  const { state, access } = world({ mode: "node" });
  await access.look();
  state.ids.delete("/cg/pods");
  assert.equal(await access.look(), true);
  assert.deepEqual([state.access, state.attached.size], [null, 0]);
  assert.match(access.view().problem, /there is no \/cg\/pods/);
  state.ids.set("/cg/pods", 9n);
  await access.look();
  assert.deepEqual(state.access, { netnsCookie: 77n, podsCgroup: 9n, everybody: true });
});

test("a cgroup that cannot be attached to is not let in, and is tried again", async () => {
  const { state, access } = world({ from: ["exporter.service"] });
  state.refuses = true;
  await access.look();
  assert.equal(state.cgroups.size, 0);
  assert.deepEqual(access.view().programs, []);
  assert.match(access.view().problem, /^exporter.service cannot be let in: .*ENODEV/);
  const said = state.log.length;
  assert.equal(await access.look(), false);
  assert.equal(state.log.length, said, "said once");
  state.refuses = false;
  await access.look();
  assert.deepEqual([...state.cgroups], [12n]);
});

test("whatever comes and goes: after each look nobody is let in but what the settings allow and what is there for certain", async () => {
  const names = ["kubelet", "k3s-server"] as const;
  const cgroups = ["/cg/kubelet", "/cg/k3s", "/cg/exporter", "/cg/pods"] as const;
  const step = fc.oneof(
    fc.record({
      op: fc.constant("start" as const),
      pid: fc.integer({ min: 1, max: 5 }),
      name: fc.constantFrom(...names),
      cgroup: fc.constantFrom(...cgroups),
    }),
    fc.record({ op: fc.constant("end" as const), pid: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ op: fc.constant("make" as const), cgroup: fc.constantFrom(...cgroups) }),
    fc.record({ op: fc.constant("remove" as const), cgroup: fc.constantFrom(...cgroups) }),
    fc.record({ op: fc.constant("attach" as const), works: fc.boolean() }),
  );
  const settings = fc.record({
    mode: fc.constantFrom("none" as const, "kubelet" as const, "node" as const),
    from: fc.subarray(["exporter.service", "pods"]),
  });
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { maxLength: 15 }), async (given, steps) => {
      const { state, access } = world(given);
      let nextId = 100n;
      for (const each of steps) {
        if (each.op === "start" || each.op === "end") {
          state.processes = state.processes.filter(({ process }) => process.pid !== each.pid);
          if (each.op === "start") state.processes.push(kubelet(each.pid, each.cgroup, each.name));
        } else if (each.op === "make") state.ids.set(each.cgroup, nextId++);
        else if (each.op === "remove") state.ids.delete(each.cgroup);
        else state.refuses = !each.works;
        state.now += 10_000;
        await access.look();
        const able = new Set(state.processes.map(({ cgroup }) => cgroup).filter((cgroup) => cgroup !== "/cg/pods"));
        const [only] = able;
        const wanted = new Set<bigint | undefined>();
        if (given.mode === "kubelet" && able.size === 1) wanted.add(state.ids.get(only ?? ""));
        if (given.from.includes("exporter.service")) wanted.add(state.ids.get("/cg/exporter"));
        wanted.delete(undefined);
        // A pod's process could not be distinguished from the node's.
        const knowsPods = state.ids.has("/cg/pods");
        if (!knowsPods) wanted.clear();
        for (const id of state.cgroups) assert.ok(wanted.has(id), `${id} is let in`);
        if (!state.refuses) assert.deepEqual(new Set(state.cgroups), wanted);
        const everybody = knowsPods && given.mode === "node";
        assert.equal(state.access?.everybody ?? false, everybody);
        if (state.cgroups.size > 0 || everybody) assert.equal(state.access?.netnsCookie, 77n);
        for (const id of state.attached.keys()) assert.ok(wanted.has(id) || (everybody && id === 1n));
      }
    }),
  );
});
