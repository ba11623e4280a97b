// Programs of the node that are let in to a pod past its policy, by their exact flow and once (root): real cgroups and
// namespaces, and thousands of random dials against a model of who may.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { endianness } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ORLOP_COUNT_IN_NODE_ACCESS,
  ORLOP_COUNT_IN_REFUSED_STRICT,
  ORLOP_COUNT_NODE_FLOW_BUDGET,
  ORLOP_COUNT_NODE_FLOW_MAP_FULL,
  ORLOP_IN_AGENT,
  ORLOP_IN_PASS,
  ORLOP_IN_REFUSE,
  ORLOP_POD_NODE_DIALS,
  ORLOP_SOCK_FROM_NODE,
  orlopNodeFlow,
  orlopTuple,
  orlopUsage,
} from "../../agent/abi.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { HookBench, OUTSIDE4, POD_IDX, POD4, POD6 } from "./hook-bench.ts";
import type { StartedProgram } from "./namespace-programs.ts";
import { application, cgroupId, dialler, forgedSyn, view, wordsOf } from "./node-dials.ts";

const little = endianness() === "LE";

const STRICT = 8000;
const POLICY = 8001;
const PASS = 8002;
const PORTS = [STRICT, POLICY, PASS];

describe("programs of the node that are let in to a pod", {
  concurrency: 1,
}, () => {
  const bench = new HookBench();
  const pins = join(bench.pins, "orlop", "node");
  let kubelet = "";
  let outsideFd = -1;
  let nodeCookie = 0n;
  const actors = new Map<string, StartedProgram>();

  after(() => {
    if (outsideFd >= 0) closeSync(outsideFd);
    bench.remove();
  });
  before(async () => {
    await bench.enrol();
    bench.said("in_by_port", 0, ORLOP_IN_REFUSE);
    bench.said("in_by_port", POLICY, ORLOP_IN_AGENT);
    bench.said("in_by_port", PASS, ORLOP_IN_PASS);
    outsideFd = openSync(`/var/run/netns/${bench.outsideName}`, "r");
    nodeCookie = (await bench.thread.podInfo(outsideFd)).cookie;
    kubelet = bench.makeCgroup("kubelet");
    const cgroups: Readonly<Record<string, string>> = {
      kubelet,
      child: bench.makeCgroup("kubelet/child"),
      other: bench.makeCgroup("other"),
    };
    bench.programs.attachCgroup(kubelet, pins, "node");
    for (const [name, cgroup] of Object.entries(cgroups)) actors.set(name, bench.startOutside(dialler, cgroup));
    actors.set("host-network pod", bench.startInOther(dialler));
    const app = bench.startInPod(application(PORTS));
    for (const program of [...actors.values(), app]) assert.equal(await program.line(), "up");
  });

  const { letIn, access, openPort } = wordsOf(bench);
  const dials = async (actor: string, address: string, port: number, source = 0, keep = ""): Promise<string> => {
    const program = actors.get(actor);
    assert.ok(program);
    program.say(`${address} ${port} ${source} ${keep}`);
    return program.line();
  };
  const flows = (): number => bench.map("node_flow").keys().length;

  test("nobody is named: refused, by STRICT and for want of a listener", async () => {
    for (const port of [STRICT, POLICY]) assert.equal(await dials("kubelet", POD4, port), "ECONNREFUSED");
    assert.equal(flows(), 0);
  });

  test("named, but no port is open: refused", async () => {
    access(nodeCookie);
    letIn(cgroupId(kubelet));
    assert.equal(await dials("kubelet", POD4, STRICT), "ECONNREFUSED");
    assert.equal(flows(), 0);
  });

  test("answered at a STRICT port and at a port under policy, IPv4 and IPv6, counted and told", async () => {
    openPort(0);
    const before = bench.count(ORLOP_COUNT_IN_NODE_ACCESS);
    bench.events();
    for (const address of [POD4, POD6]) {
      for (const port of [STRICT, POLICY]) assert.equal(await dials("kubelet", address, port), "app");
    }
    assert.equal(bench.count(ORLOP_COUNT_IN_NODE_ACCESS), before + 4);
    assert.equal(flows(), 0, "consumed");
    await sleep(100);
    const events = bench.events();
    assert.equal(events.filter(({ type }) => type === "open").length, 4);
    assert.ok(events.every(({ flags }) => (flags & ORLOP_SOCK_FROM_NODE) !== 0));
    assert.match(events[0]?.src ?? "", new RegExp(`^${OUTSIDE4} `));
    assert.equal(bench.map("dst_of_flow").keys().length, 0);
  });

  test("also by a socket of IPv6 that dials an address of IPv4, and by MPTCP", async () => {
    assert.equal(await dials("kubelet", `::ffff:${POD4}`, STRICT), "app");
    assert.equal(await dials("other", `::ffff:${POD4}`, STRICT), "ECONNREFUSED");
    for (const address of [POD4, POD6]) {
      assert.equal(await dials("kubelet", address, STRICT, 0, "mptcp"), "app");
      assert.equal(await dials("other", address, STRICT, 0, "mptcp"), "ECONNREFUSED");
    }
    assert.equal(flows(), 0);
  });

  test("a child cgroup, another cgroup and a pod in the node's namespace are refused", async () => {
    const before = bench.count(ORLOP_COUNT_IN_REFUSED_STRICT);
    for (const actor of ["child", "other", "host-network pod"]) {
      for (const address of [POD4, POD6]) assert.equal(await dials(actor, address, STRICT), "ECONNREFUSED", actor);
    }
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_STRICT), before + 6);
  });

  test("in another network namespace the same cgroup is refused", async () => {
    access(nodeCookie + 1n);
    assert.equal(await dials("kubelet", POD4, STRICT), "ECONNREFUSED");
    access(nodeCookie);
  });

  test("with ports named, others are refused", async () => {
    openPort(0, false);
    openPort(STRICT);
    assert.equal(await dials("kubelet", POD4, STRICT), "app");
    assert.equal(await dials("kubelet", POD4, POLICY), "ECONNREFUSED");
    openPort(0);
  });

  test("the four-tuple of a probe that was answered lets nobody else in", async () => {
    for (const [address, source] of [
      [POD4, 45_000],
      [POD6, 45_001],
    ] as const) {
      assert.equal(await dials("kubelet", address, STRICT, source), "app");
      for (const actor of ["child", "other", "host-network pod"]) {
        assert.equal(await dials(actor, address, STRICT, source), "ECONNREFUSED", actor);
      }
    }
  });

  test("a probe whose SYN was lost leaves nothing behind when it ends, also by SIGKILL", async () => {
    // The pod's address leads to a machine that is not there.
    const neighbour = (word: string): void =>
      void execFileSync("ip", [
        ...["-n", bench.outsideName, "neigh", "replace", POD4, "dev", "eth0"],
        ...(word === "lost" ? ["lladdr", "02:00:00:00:00:99", "nud", "permanent"] : ["nud", "failed"]),
      ]);
    for (const signal of ["SIGTERM", "SIGKILL"]) {
      neighbour("lost");
      const lost = bench.startOutside(
        `import os, socket\nprint(os.getpid(), flush=True)\ns = socket.socket(); s.bind(("", 45002)); s.connect(("${POD4}", ${STRICT}))`,
        kubelet,
      );
      const pid = await lost.line();
      for (let tries = 0; flows() === 0 && tries < 500; tries++) await sleep(10);
      assert.equal(flows(), 1);
      execFileSync("kill", [`-${signal}`, pid]);
      await lost.end();
      neighbour("found");
      assert.equal(flows(), 0);
      assert.equal(await dials("other", POD4, STRICT, 45_002), "ECONNREFUSED");
    }
  });

  test("a SYN with the four-tuple of a probe under way makes no connection, and the probe is answered", async () => {
    // Forged by somebody who can send from the node's address: the pod's answer goes to the node, which resets it.
    execFileSync("ip", [
      ...["-n", bench.outsideName, "neigh", "replace", POD4, "dev", "eth0"],
      ...["lladdr", "02:00:00:00:00:99", "nud", "permanent"],
    ]);
    bench.events();
    const probe = dials("kubelet", POD4, STRICT, 45_003);
    for (let tries = 0; flows() === 0 && tries < 500; tries++) await sleep(10);
    execFileSync("ip", ["-n", bench.outsideName, "neigh", "replace", POD4, "dev", "eth0", "nud", "failed"]);
    await bench.outside(forgedSyn(OUTSIDE4, 45_003, POD4, STRICT));
    assert.equal(await probe, "app", "its next SYN");
    await sleep(100);
    assert.equal(bench.events().filter(({ type }) => type === "open").length, 1, "of the probe alone");
    assert.equal(flows(), 0);
  });

  test("an entry is void when it is old, of another pod, or of a program that is named no more", async () => {
    const put = (agoNs: bigint, podIdx: number, cgroup: bigint): void => {
      const key = new Uint8Array(orlopTuple.size);
      key.set(ipToBytes16(OUTSIDE4), orlopTuple.src);
      key.set(ipToBytes16(POD4), orlopTuple.dst);
      view(key).setUint16(orlopTuple.srcPort, 45_004, false);
      view(key).setUint16(orlopTuple.dstPort, STRICT, false);
      const value = new Uint8Array(orlopNodeFlow.size);
      view(value).setBigUint64(orlopNodeFlow.cgroup, cgroup, little);
      view(value).setBigUint64(orlopNodeFlow.atNs, process.hrtime.bigint() - agoNs, little);
      view(value).setUint32(orlopNodeFlow.podIdx, podIdx, little);
      bench.map("node_flow").put(key, value);
    };
    const verdict = (): string => bench.programs.testLookup(OUTSIDE4, 45_004, POD4, STRICT).verdict;
    const mine = cgroupId(kubelet);
    put(0n, POD_IDX, mine);
    assert.equal(verdict(), "pass");
    assert.equal(bench.programs.testLookup(OUTSIDE4, 45_005, POD4, STRICT).verdict, "drop");
    assert.equal(bench.programs.testLookup("10.99.0.77", 45_004, POD4, STRICT).verdict, "drop");
    put(31_000_000_000n, POD_IDX, mine);
    assert.equal(verdict(), "drop");
    put(0n, POD_IDX + 1, mine);
    assert.equal(verdict(), "drop");
    put(0n, POD_IDX, 0n);
    assert.equal(verdict(), "drop");
    put(0n, POD_IDX, mine);
    letIn(mine, false);
    assert.equal(verdict(), "drop");
    letIn(mine);
    assert.equal(verdict(), "pass");
    openPort(0, false);
    openPort(STRICT, false);
    assert.equal(verdict(), "drop");
    openPort(0);
    for (const key of bench.map("node_flow").keys()) bench.map("node_flow").delete(key);
  });

  test("an open connection stays through a sweep, and ends when its program is named no more", async () => {
    assert.equal(await dials("kubelet", POD4, STRICT, 0, "keep"), "app");
    assert.equal(await bench.sever(), 0);
    assert.equal(await bench.survey(), false);
    openPort(0, false);
    openPort(POLICY);
    assert.equal(await bench.sever(), 1, "its port is open no more");
    openPort(0);
    assert.equal(await dials("kubelet", POD6, STRICT, 0, "keep"), "app");
    letIn(cgroupId(kubelet), false);
    assert.equal(await bench.sever(), 1);
    letIn(cgroupId(kubelet));
  });

  test("the whole node: every process of its namespace but those of pods", async () => {
    letIn(cgroupId(kubelet), false);
    const root = join(bench.podCgroup, "..", "..");
    bench.programs.attachCgroup(root, join(bench.pins, "orlop", "whole"), "node");
    access(nodeCookie, true, cgroupId(join(bench.podCgroup, "..")));
    for (const actor of ["kubelet", "child", "other"]) {
      for (const address of [POD4, POD6]) assert.equal(await dials(actor, address, STRICT), "app", actor);
    }
    assert.equal(await dials("host-network pod", POD4, STRICT), "ECONNREFUSED");
    // From within the pod's namespace, in whatever cgroup, this is another namespace than the node's; loopback is the pod's own.
    access(nodeCookie + 1n, true, cgroupId(join(bench.podCgroup, "..")));
    assert.equal(await dials("other", POD4, STRICT), "ECONNREFUSED");
    access(nodeCookie);
    letIn(cgroupId(kubelet));
  });

  test("4,000 random dials meet what a model of who may says", async () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    const random = mulberry(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const podsCgroup = cgroupId(join(bench.podCgroup, ".."));
    const ids = new Map([
      ["kubelet", cgroupId(kubelet)],
      ["child", cgroupId(join(kubelet, "child"))],
      ["other", cgroupId(join(kubelet, "../other"))],
      ["host-network pod", cgroupId(bench.podCgroup)],
    ]);
    const world = {
      here: true,
      everybody: false,
      knowsPods: true,
      named: new Set<string>(["kubelet"]),
      open: new Set<number>([0]),
    };
    const apply = (): void => {
      access(world.here ? nodeCookie : nodeCookie + 1n, world.everybody, world.knowsPods ? podsCgroup : 0n);
      for (const [name, id] of ids) letIn(id, world.named.has(name));
      for (const port of [0, ...PORTS]) openPort(port, world.open.has(port));
    };
    const may = (actor: string, port: number): boolean => {
      if (port === PASS) return true;
      if (!world.here || !(world.open.has(port) || world.open.has(0))) return false;
      if (actor === "host-network pod" && world.knowsPods) return false;
      return world.named.has(actor) || world.everybody;
    };
    const flip = <T>(set: Set<T>, value: T): void => void (set.delete(value) || set.add(value));
    const seen = { answered: 0, refused: 0 };
    apply();
    for (let step = 0; step < 4_000; step++) {
      if (random() < 0.2) {
        const change = random();
        if (change < 0.1) world.here = !world.here;
        else if (change < 0.2) world.everybody = !world.everybody;
        else if (change < 0.3) world.knowsPods = !world.knowsPods;
        else if (change < 0.6) flip(world.named, pick([...ids.keys()]));
        else flip(world.open, pick([0, ...PORTS]));
        apply();
      }
      const actor = pick([...actors.keys()]);
      const port = pick(PORTS);
      const address = pick([POD4, POD6]);
      // A few source ports, so that the same four-tuples come again from other programs.
      const source = random() < 0.5 ? 0 : 46_000 + Math.floor(random() * 8);
      const answer = await dials(actor, address, port, source);
      const allowed = may(actor, port);
      assert.equal(
        answer,
        allowed ? "app" : "ECONNREFUSED",
        `seed ${seed}, step ${step}: ${actor} → ${address} ${port}`,
      );
      seen[allowed ? "answered" : "refused"]++;
    }
    assert.equal(flows(), 0, `seed ${seed}`);
    assert.ok(Math.min(seen.answered, seen.refused) > 400, JSON.stringify(seen));
  });
});

test("a full table, and a pod's part of it used up, refuse and are counted", async () => {
  const bench = new HookBench({ node_flow: 1 });
  let outsideFd = -1;
  try {
    await bench.enrol();
    bench.said("in_by_port", 0, ORLOP_IN_REFUSE);
    const { letIn, access, openPort } = wordsOf(bench);
    outsideFd = openSync(`/var/run/netns/${bench.outsideName}`, "r");
    access((await bench.thread.podInfo(outsideFd)).cookie);
    const kubelet = bench.makeCgroup("kubelet");
    bench.programs.attachCgroup(kubelet, join(bench.pins, "orlop", "node"), "node");
    letIn(cgroupId(kubelet));
    openPort(0);
    const app = bench.startInPod(application([STRICT]));
    const probe = bench.startOutside(dialler, kubelet);
    for (const program of [app, probe]) assert.equal(await program.line(), "up");
    const asks = async (): Promise<string> => {
      probe.say(`${POD4} ${STRICT} 0`);
      return probe.line();
    };
    assert.equal(await asks(), "app");
    const table = bench.map("node_flow");
    table.put(new Uint8Array(orlopTuple.size), new Uint8Array(orlopNodeFlow.size));
    const full = bench.count(ORLOP_COUNT_NODE_FLOW_MAP_FULL);
    assert.equal(await asks(), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_NODE_FLOW_MAP_FULL), full + 1);
    table.delete(new Uint8Array(orlopTuple.size));
    assert.equal(await asks(), "app");
    const index = new Uint8Array(4);
    view(index).setUint32(0, POD_IDX, little);
    const usage = new Uint8Array(orlopUsage.size);
    view(usage).setUint32(orlopUsage.nodeDials, ORLOP_POD_NODE_DIALS, little);
    bench.map("pod_usage").put(index, usage);
    assert.equal(await asks(), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_NODE_FLOW_BUDGET), 1);
  } finally {
    if (outsideFd >= 0) closeSync(outsideFd);
    bench.remove();
  }
});

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
