// Pods of one node that the hooks join (root): the pod of the bench dials, the outside namespace is made the other pod. What
// is let in is exactly the connection that was announced, once; and what may no longer be is ended.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { endianness } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ORLOP_COUNT_CONNECT_JOINED,
  ORLOP_COUNT_IN_JOINED,
  ORLOP_COUNT_IN_REFUSED_STRICT,
  ORLOP_DIRECTION_OUT,
  ORLOP_IN_REFUSE,
  ORLOP_SOCK_JOINED,
  orlopInKey,
  orlopJoined,
  orlopPod,
  orlopPodIp,
  orlopTuple,
} from "../../agent/abi.ts";
import { KernelMap } from "../../agent/engine/addon.ts";
import { type PairVerdict, PairVerdicts, VipBackends } from "../../agent/kernel/pair-maps.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { HookBench, OUTSIDE4, OUTSIDE6, POD_IDX, POD4, POD6 } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

const OTHER_IDX = 9;
const PORT = 9000;
const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Answers `count` connections with the peer it sees; holds each until the other side ends it. */
const application = (port: number, count: number): string => `
import socket
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", ${port})); s.listen(); s.settimeout(15)
for _ in range(${count}):
  c, a = s.accept(); c.recv(9); c.send(("app " + a[0].replace("::ffff:", "")).encode()); c.close()`;

/** Dials and says how the connection ends, be it while the program still waits for connect() to return. */
const held = (address: string, port: number): string => `
import socket, errno, sys
try:
  s = socket.create_connection(("${address}", ${port}), 5); s.settimeout(15)
  print("ended", len(s.recv(1)))
except OSError as e: print(errno.errorcode.get(e.errno, repr(e)))`;
/** Accepts `count` connections, and keeps them until its input ends. */
const holding = (port: number, count: number): string => `
import socket, sys
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", ${port})); s.listen(); s.settimeout(15)
kept = [s.accept() for _ in range(${count})]
sys.stdin.read()`;

describe("two pods of one node", { concurrency: 1 }, () => {
  const bench = new HookBench();
  const otherFd = openSync(`/var/run/netns/${bench.outsideName}`, "r");
  const maps = [new KernelMap(bench.map("pair_verdict").fd), new KernelMap(bench.map("vip_backends").fd)] as const;
  const pairs = new PairVerdicts(maps[0]);
  const vips = new VipBackends(maps[1]);
  after(() => {
    for (const map of maps) map.close();
    closeSync(otherFd);
    bench.remove();
  });
  before(async () => {
    await bench.enrol();
    // No agent lives: what is not joined is refused at once.
    bench.programs.attachNamespace(otherFd, join(bench.pins, "orlop", "other-lookup"), OTHER_IDX);
    const { cookie } = await bench.thread.podInfo(otherFd);
    const pod = new Uint8Array(orlopPod.size);
    view(pod).setUint32(orlopPod.podIdx, OTHER_IDX, little);
    pod.set(ipToBytes16(OUTSIDE4), orlopPod.ip4);
    pod.set(ipToBytes16(OUTSIDE6), orlopPod.ip6);
    const key = new Uint8Array(8);
    view(key).setBigUint64(0, cookie, little);
    bench.map("pod_by_netns").put(key, pod);
    const ip = new Uint8Array(orlopPodIp.size);
    view(ip).setUint32(orlopPodIp.podIdx, OTHER_IDX, little);
    for (const address of [OUTSIDE4, OUTSIDE6]) bench.map("pod_by_ip").put(ipToBytes16(address), ip);
    const inKey = new Uint8Array(orlopInKey.size);
    view(inKey).setUint32(orlopInKey.podIdx, OTHER_IDX, little);
    const strict = new Uint8Array(4);
    view(strict).setUint32(0, ORLOP_IN_REFUSE, little);
    bench.map("in_by_port").put(inKey, strict);
  });

  const say = (port: number, verdict: PairVerdict) =>
    pairs.put({ sourceIdx: POD_IDX, destinationIdx: OTHER_IDX, port, verdict });
  const unsay = (port: number) => pairs.delete({ sourceIdx: POD_IDX, destinationIdx: OTHER_IDX, port });
  const sever = (podIdx = POD_IDX) => bench.sever(bench.netnsFd, podIdx);
  const severOther = (podIdx = OTHER_IDX) => bench.sever(otherFd, podIdx);
  const announced = () => bench.map("joined_flow").keys().length;
  async function until(what: string, holds: () => boolean): Promise<void> {
    for (const end = performance.now() + 10_000; !holds(); await sleep(10)) {
      if (performance.now() > end) assert.fail(`${what}: not within 10 s`);
    }
  }
  async function whileServing<T>(count: number, act: () => Promise<T>): Promise<T> {
    const app = bench.outside(application(PORT, count));
    await bench.listensOutside(PORT);
    const result = await act();
    await app;
    return result;
  }

  test("joined past STRICT and without an agent, on both families; told once by its dialling end", async () => {
    say(0, "join");
    bench.events();
    const before = [bench.count(ORLOP_COUNT_CONNECT_JOINED), bench.count(ORLOP_COUNT_IN_JOINED)] as const;
    await whileServing(3, async () => {
      assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), `${OUTSIDE4} ${PORT} app ${POD4}`);
      assert.equal(await bench.inPod(dial(OUTSIDE6, PORT)), `${OUTSIDE6} ${PORT} app ${POD6}`);
      assert.equal(await bench.inPod(dial(`::ffff:${OUTSIDE4}`, PORT)), `::ffff:${OUTSIDE4} ${PORT} app ${POD4}`);
    });
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_JOINED), before[0] + 3);
    assert.equal(bench.count(ORLOP_COUNT_IN_JOINED), before[1] + 3);
    assert.equal(announced(), 0, "let in once");
    await sleep(100);
    const events = bench.events();
    assert.equal(events.filter(({ type }) => type === "open").length, 3);
    assert.ok(events.every(({ direction }) => direction === ORLOP_DIRECTION_OUT));
    assert.ok(events.every(({ flags }) => (flags & ORLOP_SOCK_JOINED) !== 0));
  });

  test("a virtual address: one of those behind it by weight, and the application sees what it dialled", async () => {
    const entry = { podIdx: POD_IDX, vip: "192.0.2.80", port: 80 };
    vips.put(entry, [{ address: OUTSIDE4, port: PORT, weight: 1 }]);
    vips.put({ ...entry, vip: "2001:db8::80" }, [{ address: OUTSIDE6, port: PORT, weight: 3 }]);
    await whileServing(3, async () => {
      assert.equal(await bench.inPod(dial("192.0.2.80", 80)), `192.0.2.80 80 app ${POD4}`);
      assert.equal(await bench.inPod(dial("2001:db8::80", 80)), `2001:db8::80 80 app ${POD6}`);
      assert.equal(await bench.inPod(dial("::ffff:192.0.2.80", 80)), `::ffff:192.0.2.80 80 app ${POD4}`);
    });
    assert.equal(await bench.inPod(dial("192.0.2.80", 81)), "ECONNREFUSED", "a port nobody spoke of is the agent's");
    vips.put(entry, [{ address: "192.0.2.99", port: PORT, weight: 1 }]);
    assert.equal(await bench.inPod(dial("192.0.2.80", 80)), "ECONNREFUSED", "so is an address of no pod of this node");
    vips.put(entry, [{ address: OUTSIDE4, port: 15006, weight: 1 }]);
    assert.equal(await bench.inPod(dial("192.0.2.80", 80)), "ECONNREFUSED", "and a port of our own");
    vips.put(entry, []);
    assert.equal(await bench.inPod(dial("192.0.2.80", 80)), "ECONNREFUSED", "and nobody");
  });

  test("stay, end, a port's own word, and nothing said: all the agent's", async () => {
    const before = bench.count(ORLOP_COUNT_CONNECT_JOINED);
    for (const verdict of ["stay", "end"] as const) {
      say(PORT, verdict);
      assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), "ECONNREFUSED", verdict);
    }
    unsay(PORT);
    unsay(0);
    assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), "ECONNREFUSED");
    say(PORT, "join");
    await whileServing(1, () => bench.inPod(dial(OUTSIDE4, PORT)));
    assert.equal(await bench.inPod(dial(OUTSIDE4, PORT + 1)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_JOINED), before + 1);
    unsay(PORT);
    say(0, "join");
  });

  test("a source that the application chose is the agent's", async () => {
    const bound = (address: string) => `
import socket, errno
s = socket.socket(); s.bind(("${address}", 0))
try: s.connect(("${OUTSIDE4}", ${PORT})); print("connected")
except OSError as e: print(errno.errorcode[e.errno])`;
    for (const address of [POD4, "127.0.0.1"]) assert.equal(await bench.inPod(bound(address)), "ECONNREFUSED");
  });

  test("nothing is left of an announcement: refused by the application, given up while dialling", async () => {
    assert.equal(await bench.inPod(dial(OUTSIDE4, PORT + 5)), "ECONNREFUSED");
    assert.equal(announced(), 0);
    execFileSync("ip", ["-n", bench.outsideName, "link", "set", "eth0", "down"]);
    try {
      const code = `
import socket, sys
s = socket.socket(); s.setblocking(False); s.connect_ex(("${OUTSIDE4}", ${PORT})); print("dials", flush=True)
sys.stdin.readline(); s.close(); print("given up", flush=True); sys.stdin.read()`;
      const giving = bench.startInPod(code);
      assert.equal(await giving.line(), "dials");
      assert.equal(announced(), 1, "an announcement as long as it dials");
      giving.say("");
      assert.equal(await giving.line(), "given up");
      assert.equal(announced(), 0);
      await giving.end();
    } finally {
      execFileSync("ip", ["-n", bench.outsideName, "link", "set", "eth0", "up"]);
      execFileSync("ip", ["-n", bench.outsideName, "addr", "replace", `${OUTSIDE6}/64`, "dev", "eth0", "nodad"]);
    }
  });

  test("an announcement that an earlier connection between the same ends has left is replaced, and none is left", async () => {
    say(0, "join");
    const port = 45_100;
    const ports = (range: string): void => {
      const setting = `net.ipv4.ip_local_port_range=${range}`;
      execFileSync("ip", ["netns", "exec", bench.podName, "sysctl", "-qw", setting]);
    };
    const tuple = new Uint8Array(orlopTuple.size);
    tuple.set(ipToBytes16(POD4), orlopTuple.src);
    tuple.set(ipToBytes16(OUTSIDE4), orlopTuple.dst);
    view(tuple).setUint16(orlopTuple.srcPort, port, false);
    view(tuple).setUint16(orlopTuple.dstPort, PORT, false);
    const value = new Uint8Array(orlopJoined.size);
    view(value).setUint32(orlopJoined.srcPodIdx, POD_IDX, little);
    // Of a pod that had the address before: this announcement admits nobody any more.
    view(value).setUint32(orlopJoined.dstPodIdx, OTHER_IDX + 1, little);
    bench.map("joined_flow").put(tuple, value);
    ports(`${port} ${port}`);
    try {
      await whileServing(1, async () => {
        assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), `${OUTSIDE4} ${PORT} app ${POD4}`);
      });
    } finally {
      ports("32768 60999");
    }
    assert.equal(announced(), 0);
  });

  test("what imitates an announced connection is refused: other address, port, pod; and its tuple after its end", async () => {
    const tuple = new Uint8Array(orlopTuple.size);
    tuple.set(ipToBytes16(POD4), orlopTuple.src);
    tuple.set(ipToBytes16(OUTSIDE4), orlopTuple.dst);
    view(tuple).setUint16(orlopTuple.srcPort, 40_000, false);
    view(tuple).setUint16(orlopTuple.dstPort, PORT, false);
    const announce = (source: number, destination: number): void => {
      const value = new Uint8Array(orlopJoined.size);
      view(value).setUint32(orlopJoined.srcPodIdx, source, little);
      view(value).setUint32(orlopJoined.dstPodIdx, destination, little);
      bench.map("joined_flow").put(tuple, value);
    };
    const arrives = (source: string, sourcePort: number, port: number, at = OUTSIDE4) =>
      bench.programs.testLookup(source, sourcePort, at, port).verdict;
    announce(POD_IDX, OTHER_IDX);
    assert.equal(arrives(POD4, 40_000, PORT), "pass");
    assert.equal(arrives(POD4, 40_001, PORT), "drop");
    assert.equal(arrives(POD4, 40_000, PORT + 1), "drop");
    assert.equal(arrives("10.99.0.77", 40_000, PORT), "drop");
    assert.equal(arrives(POD6, 40_000, PORT, OUTSIDE6), "drop");
    announce(POD_IDX, OTHER_IDX + 1);
    assert.equal(arrives(POD4, 40_000, PORT), "drop", "the address is another pod's by now");
    announce(POD_IDX + 1, OTHER_IDX);
    assert.equal(arrives(POD4, 40_000, PORT), "drop", "the source's address is another pod's by now");
    bench.map("joined_flow").delete(tuple);
    assert.equal(arrives(POD4, 40_000, PORT), "drop");

    // For real: the port of a connection that has ended, by a program that the hooks do not see.
    const strict = bench.count(ORLOP_COUNT_IN_REFUSED_STRICT);
    await whileServing(1, async () => {
      const used = await bench.inPod(`
import socket
s = socket.create_connection(("${OUTSIDE4}", ${PORT})); s.send(b"x"); s.recv(99); print(s.getsockname()[1])
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0"); s.close()`);
      const again = `
import socket, errno
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("${POD4}", ${used}))
try: s.connect(("${OUTSIDE4}", ${PORT})); print("in")
except OSError as e: print(errno.errorcode[e.errno])`;
      assert.equal(await bench.unseen(again), "ECONNREFUSED");
    });
    // Once more where the other side still remembers the first (TIME_WAIT).
    assert.ok(bench.count(ORLOP_COUNT_IN_REFUSED_STRICT) > strict);
  });

  test("END ends what stands, also what no event told of; STAY and other pairs' stay", async () => {
    say(0, "join");
    const server = bench.startOutside(holding(PORT, 2));
    await bench.listensOutside(PORT);
    const before = bench.count(ORLOP_COUNT_IN_JOINED);
    const first = bench.inPod(held(OUTSIDE4, PORT));
    const second = bench.inPod(held(OUTSIDE6, PORT));
    await until("both", () => bench.count(ORLOP_COUNT_IN_JOINED) === before + 2 && announced() === 0);
    say(0, "stay");
    assert.equal(await sever(), 0);
    assert.equal(await severOther(), 0);
    assert.deepEqual(await Promise.all([bench.survey(), bench.survey(otherFd, OTHER_IDX)]), [false, false]);
    say(0, "end");
    assert.equal(await sever(), 2);
    assert.equal(await first, "ECONNABORTED");
    assert.equal(await second, "ECONNABORTED");
    assert.equal(await sever(), 0);
    await server.end();
  });

  test("each end by itself, whatever the other does; what was joined under another index; and where either pod has left", async () => {
    say(0, "join");
    const ends = async (act: () => Promise<number>): Promise<readonly [ended: number, seen: string]> => {
      const server = bench.startOutside(holding(PORT, 1));
      await bench.listensOutside(PORT);
      const before = bench.count(ORLOP_COUNT_IN_JOINED);
      const client = bench.inPod(held(OUTSIDE4, PORT));
      await until("joined", () => bench.count(ORLOP_COUNT_IN_JOINED) === before + 1 && announced() === 0);
      assert.deepEqual([await sever(), await severOther()], [0, 0]);
      const ended = await act();
      const result = [ended, await client] as const;
      await server.end();
      return result;
    };
    const saidEnd = (act: () => Promise<number>) => async (): Promise<number> => {
      say(0, "end");
      const ended = await act();
      say(0, "join");
      return ended;
    };
    assert.deepEqual(await ends(saidEnd(severOther)), [1, "ECONNRESET"]);
    assert.deepEqual(await ends(() => sever(POD_IDX + 1)), [1, "ECONNABORTED"]);
    assert.deepEqual(await ends(() => severOther(OTHER_IDX + 1)), [1, "ECONNRESET"]);
    assert.deepEqual(await ends(() => sever(0)), [1, "ECONNABORTED"]);
    assert.deepEqual(await ends(() => severOther(0)), [1, "ECONNRESET"]);
    const rowOf = (address: string): Uint8Array => bench.map("pod_by_ip").get(ipToBytes16(address)) ?? new Uint8Array();
    const gone = (address: string, act: () => Promise<number>) => async (): Promise<number> => {
      const row = rowOf(address);
      bench.map("pod_by_ip").delete(ipToBytes16(address));
      const ended = await act();
      bench.map("pod_by_ip").put(ipToBytes16(address), row);
      return ended;
    };
    assert.deepEqual(await ends(gone(OUTSIDE4, sever)), [1, "ECONNABORTED"]);
    assert.deepEqual(await ends(gone(POD4, severOther)), [1, "ECONNRESET"]);
    const unsaid = async (): Promise<number> => {
      unsay(0);
      const ended = await sever();
      say(0, "join");
      return ended;
    };
    assert.deepEqual(await ends(unsaid), [1, "ECONNABORTED"]);
  });
});
