// One pod that fills the shared maps by every way it has (root, C): its own connects fail, and a bystander's are all served.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import net from "node:net";
import { endianness } from "node:os";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import {
  ORLOP_COUNT_AGENT_FLOW_BUDGET,
  ORLOP_COUNT_CONNECT_REFUSED_BUDGET,
  ORLOP_COUNT_FLOW_MAP_FULL,
  ORLOP_COUNT_JOINED_BUDGET,
  ORLOP_COUNT_TRAFFIC_MAP_FULL,
  ORLOP_DIRECTION_OUT,
  ORLOP_POD_DIALS,
  ORLOP_POD_FLOWS,
  ORLOP_POD_JOINED,
  ORLOP_POD_TRAFFIC,
  orlopPod,
  orlopPodIp,
  orlopTrafficKey,
  orlopUsage,
} from "../../agent/abi.ts";
import { KernelMap as NativeMap } from "../../agent/engine/addon.ts";
import { PairVerdicts } from "../../agent/kernel/pair-maps.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { HookBench, OUTSIDE4, POD_IDX, POD4 } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

const BYSTANDER_IDX = 9;
/** More than one pod's part, and far less than the attack asks for. */
const ENTRIES = ORLOP_POD_FLOWS + 500;
const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Sockets that dial and drop every answer, so that none is ever established; `source` is bound first. */
const withheld = (count: number, source: string, to = '("192.0.2.%d" % (i % 200 + 1), 80)'): string => `
import ctypes, errno, resource, socket, struct, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(drop))
kept, errors = [], {}
for i in range(${count}):
  s = socket.socket(); s.setblocking(False)
  s.setsockopt(socket.SOL_SOCKET, 26, program)
  source = ${source}
  if source: s.bind((source, 0))
  e = s.connect_ex(${to}); kept.append(s)
  name = errno.errorcode.get(e, str(e)); errors[name] = errors.get(name, 0) + 1
print(*sorted("%s %d" % pair for pair in errors.items()), flush=True)
sys.stdin.read()`;

/** Dials with sockets of the agent's, the last of them the bystander's. */
const withheldDials = `
import ctypes, errno, socket, struct, sys
drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(drop))
count, to = int(sys.argv[1]), sys.argv[2]
sockets = [socket.socket(fileno=3 + i) for i in range(count)]
for s in sockets: s.setsockopt(socket.SOL_SOCKET, 26, program)
def dialled(s, to): return errno.errorcode.get(s.connect_ex((to, 9)), "connected")
said = [dialled(s, to) for s in sockets[:-1]]
assert len(set(said)) == 1, set(said)
print(said[0], len(said), "${OUTSIDE4}", dialled(sockets[-1], "${OUTSIDE4}"), flush=True)
sys.stdin.read()`;

describe("a pod that floods the shared maps", { concurrency: 1 }, () => {
  const bench = new HookBench({ dst_of_flow: ENTRIES, pending_flow: ENTRIES, traffic: 512 });
  const otherFd = openSync(`/var/run/netns/${bench.outsideName}`, "r");
  let server: net.Server;
  const open = new Set<net.Socket>();
  after(() => {
    server?.close();
    for (const socket of open) socket.destroy();
    closeSync(otherFd);
    bench.remove();
  });
  before(async () => {
    execFileSync("ip", ["-n", bench.podName, "route", "add", "default", "via", OUTSIDE4]);
    await bench.enrol();
    await bench.agentListens("127.0.0.1", 15001);
    bench.keepBeating();
    const { cookie } = await bench.thread.podInfo(otherFd);
    const pod = new Uint8Array(orlopPod.size);
    view(pod).setUint32(orlopPod.podIdx, BYSTANDER_IDX, little);
    pod.set(ipToBytes16(OUTSIDE4), orlopPod.ip4);
    const key = new Uint8Array(8);
    view(key).setBigUint64(0, cookie, little);
    bench.map("pod_by_netns").put(key, pod);
    const ip = new Uint8Array(orlopPodIp.size);
    view(ip).setUint32(orlopPodIp.podIdx, BYSTANDER_IDX, little);
    bench.map("pod_by_ip").put(ipToBytes16(OUTSIDE4), ip);
    const fd = await bench.thread.listen(otherFd, "127.0.0.1", 15001, { transparent: false });
    server = net.createServer((socket) => {
      open.add(socket.once("close", () => open.delete(socket)));
      socket.once("data", () => socket.end("agent")).on("error", () => {});
    });
    server.listen({ fd });
  });

  function held(field: number, podIdx = POD_IDX): number {
    const key = new Uint8Array(4);
    view(key).setUint32(0, podIdx, little);
    return view(bench.map("pod_usage").get(key) ?? new Uint8Array(orlopUsage.size)).getInt32(field, little);
  }
  const bystanderConnects = async (count: number): Promise<void> => {
    const full = bench.count(ORLOP_COUNT_FLOW_MAP_FULL);
    for (let i = 0; i < count; i++) assert.match(await bench.inOther(dial(`198.51.100.${i + 1}`, 80)), /agent$/);
    assert.equal(bench.count(ORLOP_COUNT_FLOW_MAP_FULL), full);
  };

  for (const [way, source] of [
    ["connects whose SYN-ACK it drops", '""'],
    ["sources of 127.0.0.0/8", '"127.%d.%d.9" % (i // 250 + 1, i % 250)'],
  ] as const) {
    test(`${way}: at its bound the pod gets EADDRNOTAVAIL, and the sum returns to zero`, async () => {
      const refused = bench.count(ORLOP_COUNT_CONNECT_REFUSED_BUDGET);
      const attack = bench.startInPod(withheld(4_000, source));
      const said = await attack.line();
      assert.equal(said, `EADDRNOTAVAIL ${4_000 - ORLOP_POD_FLOWS} EINPROGRESS ${ORLOP_POD_FLOWS}`);
      assert.equal(bench.count(ORLOP_COUNT_CONNECT_REFUSED_BUDGET) - refused, 4_000 - ORLOP_POD_FLOWS);
      assert.equal(held(orlopUsage.flows), ORLOP_POD_FLOWS);
      await bystanderConnects(10);
      await attack.end();
      assert.equal(held(orlopUsage.flows), 0);
      assert.equal(bench.map("pending_flow").keys().length, 0);
      assert.match(await bench.inPod(dial("192.0.2.1", 80)), /agent$/, "what the flood held is free again");
    });
  }

  test("joined connections beyond the pod's part are captured instead", async () => {
    const native = new NativeMap(bench.map("pair_verdict").fd);
    new PairVerdicts(native).put({ sourceIdx: POD_IDX, destinationIdx: BYSTANDER_IDX, port: 9000, verdict: "join" });
    const application = bench.startInOther(`
import socket, sys
s = socket.create_server(("${OUTSIDE4}", 9000), backlog=2000); print("ready", flush=True); sys.stdin.read()`);
    await application.line();
    const attack = bench.startInPod(withheld(700, '""', `("${OUTSIDE4}", 9000)`));
    assert.equal(await attack.line(), "EINPROGRESS 700");
    assert.equal(held(orlopUsage.joined), ORLOP_POD_JOINED);
    assert.equal(held(orlopUsage.flows), 700 - ORLOP_POD_JOINED);
    assert.equal(bench.count(ORLOP_COUNT_JOINED_BUDGET), 700 - ORLOP_POD_JOINED);
    await attack.end();
    assert.deepEqual([held(orlopUsage.joined), held(orlopUsage.flows)], [0, 0]);
    assert.equal(bench.map("joined_flow").keys().length, 0);
    await application.end();
    native.close();
  });

  test("the agent's dials: beyond the pod's part they are not let in, and those to other pods are", async (t) => {
    const counted = bench.count(ORLOP_COUNT_AGENT_FLOW_BUDGET);
    const calls = Array.from({ length: 10 }, () => bench.thread.sockets(bench.netnsFd, "local4", 64));
    const other = bench.thread.sockets(otherFd, "local4", 1);
    const fds = (await Promise.all([...calls, other])).flatMap((more) => [...more]);
    // Nobody listens, and nobody hears the refusal: no dial is ever established.
    const dials = spawn("python3", ["-c", withheldDials, String(fds.length), POD4], {
      stdio: ["pipe", "pipe", "inherit", ...fds],
    });
    for (const fd of fds) closeSync(fd);
    t.after(() => dials.kill("SIGKILL"));
    const exited = once(dials, "exit");
    const { stdin, stdout } = dials;
    assert.ok(stdin !== null && stdout !== null);
    const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, `EINPROGRESS ${fds.length - 1} ${OUTSIDE4} EINPROGRESS`);
    assert.equal(held(orlopUsage.dials), ORLOP_POD_DIALS);
    assert.equal(held(orlopUsage.dials, BYSTANDER_IDX), 1);
    assert.equal(bench.map("agent_flow").keys().length, ORLOP_POD_DIALS + 1);
    assert.equal(bench.count(ORLOP_COUNT_AGENT_FLOW_BUDGET) - counted, fds.length - 1 - ORLOP_POD_DIALS);
    stdin.end();
    await exited;
    assert.deepEqual([held(orlopUsage.dials), held(orlopUsage.dials, BYSTANDER_IDX)], [0, 0]);
    assert.equal(bench.map("agent_flow").keys().length, 0);
  });

  test("established ones do not count, whatever becomes of them", async () => {
    await bench.inPod(`
import socket
for i in range(300):
  s = socket.create_connection(("192.0.2.7", 80))
  if i % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
  s.close()`);
    assert.equal(held(orlopUsage.flows), 0);
  });

  test("every port dialled: as many rows as the bound, then one for the rest, and none of the sums is lost", async () => {
    const before = bench.count(ORLOP_COUNT_TRAFFIC_MAP_FULL);
    await bench.inPod(`
import socket
for port in range(1, 701):
  s = socket.create_connection(("192.0.2.8", port)); s.close()`);
    const rows = bench
      .map("traffic")
      .keys()
      .filter((key) => view(key).getUint32(orlopTrafficKey.podIdx, little) === POD_IDX);
    assert.ok(rows.length <= ORLOP_POD_TRAFFIC + 2, `${rows.length} rows`);
    assert.ok(bench.traffic(ORLOP_DIRECTION_OUT, 0).opened >= 700 - ORLOP_POD_TRAFFIC);
    await bystanderConnects(3);
    assert.ok(held(orlopUsage.traffic, BYSTANDER_IDX) > 0, "the bystander has rows of its own");
    assert.equal(bench.count(ORLOP_COUNT_TRAFFIC_MAP_FULL), before);
  });
});
