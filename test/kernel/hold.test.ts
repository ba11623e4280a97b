// What a pod may try against its own capture (root): io_uring, a process with CAP_NET_ADMIN alone (E6), and time:
// programs swapped under load (F3), links and maps taken over by the next keeper.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ORLOP_COUNT_CONNECT_CAPTURED } from "../../agent/abi.ts";
import { Programs } from "../../agent/keeper/addon.ts";
import { HookBench, LIMIT_NS } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

/** The number of bpf(2): asm-generic, and x86-64's own. */
const bpfCall = process.arch === "x64" ? 321 : 280;

describe("capture holds", { concurrency: 1 }, () => {
  const bench = new HookBench();
  const folder = mkdtempSync(join(tmpdir(), "orlop-hold-"));
  after(() => {
    bench.remove();
    rmSync(folder, { recursive: true });
  });
  before(async () => {
    await bench.agentListens("127.0.0.1", 15001);
    await bench.enrol();
    bench.beat(0n);
  });

  test("io_uring's connect, made by a kernel worker, is captured and refused like any other", async () => {
    const program = join(folder, "uring-connect");
    const source = fileURLToPath(new URL("uring-connect.c", import.meta.url));
    execFileSync("cc", ["-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
    assert.equal(await bench.inPod("", [program, "192.0.2.70", "80"]), "192.0.2.70 80");
    assert.ok([...bench.flows().values()].includes("192.0.2.70 80"));
    bench.beat(LIMIT_NS * 2n);
    assert.equal(await bench.inPod("", [program, "192.0.2.70", "80"]), "ECONNREFUSED");
    bench.beat(0n);
  });

  test("CAP_NET_ADMIN in the pod cannot detach, and cannot route around", async () => {
    const tries = `
import os, subprocess
cgroup = os.open("${bench.podCgroup}/..", os.O_RDONLY)
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
for kind in (10, 11, 29, 30, 3):  # connect4, connect6, getpeername4/6, sockops: BPF_PROG_DETACH, the old way
  attr = ctypes.create_string_buffer(struct.pack("IIIII", cgroup, 0, kind, 0, 0).ljust(128, bytes(1)))
  assert libc.syscall(${bpfCall}, 9, attr, 128) < 0, kind
subprocess.run("ip route flush table 28530; ip rule flush; ip rule add from all lookup main; ip -6 rule flush", shell=True)
${dial("192.0.2.71", 80)}`;
    const command = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "python3", "-c", tries];
    assert.equal(await bench.inPod("", command), "192.0.2.71 80 agent");
    assert.equal(await bench.inPod(dial("192.0.2.72", 80)), "192.0.2.72 80 agent");
  });

  test("programs swapped 200 times under load: every connect is captured", async () => {
    const captured = bench.count(ORLOP_COUNT_CONNECT_CAPTURED);
    // Not by inPod: its time-out is this thread's, which loading programs keeps busy.
    const load = bench.startInPod(`
import socket
for i in range(2000):
  s = socket.create_connection(("192.0.2.73", 80)); assert s.getpeername() == ("192.0.2.73", 80), i; s.close()
print("whole", flush=True)`);
    const orlop = join(bench.pins, "orlop");
    bench.keepBeating();
    for (let i = 0; i < 20; i++) {
      const next = new Programs({ pinDir: orlop, heartbeatLimitNs: LIMIT_NS });
      for (let j = 0; j < 10; j++) {
        next.attachCgroup(join(bench.podCgroup, ".."), join(orlop, "links"), "all");
        next.attachNamespace(bench.netnsFd, bench.lookupPin, j);
      }
      assert.equal(next.map("pod_by_netns").keys().length, 1, "the maps are the same");
      next.close();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(await load.line(), "whole");
    bench.stopBeating();
    bench.beat(0n);
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_CAPTURED), captured + 2000);
  });

  test("a link pinned on another cgroup is not moved in silence; a detached one is gone", async () => {
    const links = join(bench.pins, "orlop", "links");
    assert.throws(() => bench.programs.attachCgroup(bench.podCgroup, links, "all"), { code: "EBUSY" });
    assert.equal(bench.programs.detach(join(links, "orlop_connect4")), true);
    assert.equal(bench.programs.detach(join(links, "orlop_connect4")), false);
    assert.match(await bench.inPod(dial("192.0.2.74", 80)), /ENETUNREACH|timed out/);
  });

  test("what is wrong with options, maps and keys is said", () => {
    assert.throws(() => new Programs({ pinDir: folder, heartbeatLimitNs: 1n }), { code: "EOPNOTSUPP" });
    assert.throws(() => bench.programs.map("none"), { code: "ENOENT" });
    assert.throws(() => bench.map("gate").get(new Uint8Array(3)), TypeError);
    assert.equal(bench.programs.maps().length, 21);
    assert.equal(bench.programs.programs().length, 13);
  });
});
