// A keeper with another layout version takes over, forward and back (root): keepers of three revisions in turn, while a
// prober outside calls a STRICT pod in plaintext as fast as it can. It is never answered, and what bypassed the agent under
// the other layout ends.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { ORLOP_IN_PASS, ORLOP_IN_REFUSE, ORLOP_PAIR_JOIN, orlopInKey, orlopPairKey } from "../../agent/abi.ts";
import { FdSocket, KernelMap } from "../../agent/keeper/addon.ts";
import { LENT_MAPS, PROTOCOL_VERSION } from "../../agent/keeper/protocol.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";
import { buildPrevious } from "../box/previous.ts";
import { buildWithLayout } from "../support/revision.ts";

const root = join(import.meta.dirname, "../..");
const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
assert.ok(mount, "this test needs cgroup v2");
const tag = `ot${process.pid}`;
const base = join(mount, `orlop-takeover-${process.pid}`);
const podsCgroup = join(base, "pods");
const scratch = mkdtempSync(join(tmpdir(), "orlop-takeover-"));
const config = {
  node: "takeover",
  directory: join(scratch, "keeper"),
  socket: join(scratch, "keeper", "keeper.sock"),
  stateDirectory: join(scratch, "state"),
  bpffs: join(scratch, "bpf"),
  podsCgroup,
  heartbeatLimitMs: 2_000,
  /** A program of the node that is let in to pods. */
  nodeAccess: { mode: "none" as const, kubeletCgroup: "", from: [join(base, "probe")] },
  agentUid: 61008,
  log: { level: "debug" },
};
const layoutDirectory = (version: number): string => join(config.bpffs, "orlop", config.node, `v${version}`);

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const u32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  view(bytes).setUint32(0, value, true);
  return bytes;
};

/** A pod: a namespace with an address, a cgroup, and a process in both that answers on ports 8000 and 8001. */
type Pod = { readonly uid: string; readonly address: string; readonly namespace: string; readonly cgroup: string };
const strict: Pod = {
  uid: "strict",
  address: "10.98.0.2",
  namespace: `${tag}s`,
  cgroup: join(podsCgroup, "podstrict"),
};
const other: Pod = { uid: "other", address: "10.98.0.3", namespace: `${tag}o`, cgroup: join(podsCgroup, "podother") };
const outside = `${tag}x`;

const application = `
import socket, threading
def serve(port):
  s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", port)); s.listen(512)
  while True:
    c, _ = s.accept()
    c.send(b"app")
    if port == 8000: c.close()
    else: kept.append(c)
kept = []
for port in (8000, 8001): threading.Thread(target=serve, args=(port,)).start()
print("up", flush=True)`;

/** Calls port 8000 without a pause until its input ends; says at the first answer that it was answered, and at its end how often, and how often refused. */
const prober = `
import errno, select, socket, sys
answered = refused = 0
print("up", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
  s = socket.socket(); s.settimeout(2)
  try:
    s.connect(("${strict.address}", 8000))
    if s.recv(9): answered += 1
    if answered == 1: print("answered", flush=True)
  except OSError: refused += 1
  s.close()
print(answered, refused)`;

/** Dials, says so, and says how the connection ended. */
const holder = (address: string): string => `
import socket
s = socket.create_connection(("${address}", 8001), 5); s.recv(9); print("up", flush=True)
s.settimeout(60)
try: print("closed" if s.recv(1) == b"" else "data")
except OSError as e: print("cut")`;

type Started = { readonly child: ChildProcess; readonly output: () => string; readonly ended: Promise<void> };

async function start(command: readonly string[], ready: RegExp): Promise<Started> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  let text = "";
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    const take = (part: Buffer): void => {
      text += part;
      if (ready.test(text)) resolve();
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    void ended.then(() => reject(new Error(`${program} ended before it was ready: ${text}`)));
  });
  return { child, output: () => text, ended };
}

const inNamespace = (namespace: string, code: string, cgroup?: string): string[] => {
  const enter = cgroup === undefined ? "" : `echo $$ > ${cgroup}/cgroup.procs;`;
  return ["sh", "-c", `${enter} exec nsenter --net=/var/run/netns/${namespace} python3 -c "$1"`, "sh", code];
};

async function end(started: Started, signal: NodeJS.Signals): Promise<void> {
  started.child.kill(signal);
  await started.ended;
}

/** A keeper of the revision in `tree`, as a process. */
const startKeeper = (tree: string, ready = /the keeper serves/): Promise<Started> => {
  const code = `
    const { runKeeper } = await import(${JSON.stringify(pathToFileURL(join(tree, "agent/keeper/keeper.ts")).href)});
    const stop = new AbortController();
    process.once("SIGTERM", () => stop.abort());
    const say = (message, fields) => console.log(message, JSON.stringify(fields ?? {}));
    const log = { debug: say, info: say, warn: say, error: say };
    await runKeeper(${JSON.stringify(config)}, { log, signal: stop.signal, removeOnExit: process.env.REMOVE === "1" });`;
  return start([process.execPath, "--input-type=module", "-e", code], ready);
};

type Packet = { readonly reply: Record<string, unknown>; readonly fds: number[] };

const agents: Agent[] = [];

/** What an agent of any protocol version says to its keeper. */
class Agent {
  readonly #socket: FdSocket;
  readonly #waiting = new Map<number, (packet: Packet) => void>();
  readonly #fds: number[] = [];
  readonly maps = new Map<string, KernelMap>();
  #version = 0;
  #id = 0;
  #closed = false;
  #beat: NodeJS.Timeout | undefined;

  constructor() {
    agents.push(this);
    this.#socket = FdSocket.connect(config.socket);
    this.#socket.onMessage((bytes, fds) => {
      const reply = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
      this.#waiting.get(Number(reply.id))?.({ reply, fds: [...fds] });
    });
  }

  async ask(op: string, fields: object, expected: string): Promise<Packet> {
    const id = ++this.#id;
    const answer = new Promise<Packet>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(Buffer.from(JSON.stringify({ id, op, ...fields })), new Int32Array());
    const packet = await answer;
    this.#fds.push(...packet.fds);
    assert.equal(packet.reply.op, expected, JSON.stringify(packet.reply));
    return packet;
  }

  async hello(version: number): Promise<unknown> {
    this.#version = version;
    const { reply, fds } = await this.ask(
      "hello",
      { version, node: config.node, ...(version < 6 ? {} : { role: "new" }) },
      "welcome",
    );
    for (const [at, name] of LENT_MAPS.entries()) {
      const fd = fds[at];
      if (fd !== undefined) this.maps.set(name, new KernelMap(fd));
    }
    const gate = this.map("gate");
    this.#beat = setInterval(() => {
      const value = gate.get(new Uint8Array(4));
      if (value === undefined) return;
      value.writeBigUInt64LE(process.hrtime.bigint(), 0);
      gate.put(new Uint8Array(4), value);
    }, 100);
    return reply.pods;
  }

  map(name: string): KernelMap {
    const map = this.maps.get(name);
    assert.ok(map, name);
    return map;
  }

  /** Prepared, its verdict written, captured; its index. */
  async enrol(pod: Pod): Promise<number> {
    const { reply } = await this.ask("prepare", { uid: pod.uid, addresses: [pod.address] }, "prepared");
    const podIdx = Number(reply.podIdx);
    this.plaintext(podIdx, 0, ORLOP_IN_REFUSE);
    // Before protocol 8 an index alone names the pod.
    const named = this.#version < 8 ? { podIdx } : { podIdx, uid: pod.uid };
    await this.ask("capture", { ...named, failDirect: false }, "done");
    return podIdx;
  }

  plaintext(podIdx: number, port: number, verdict: number): void {
    const key = new Uint8Array(orlopInKey.size);
    view(key).setUint32(orlopInKey.podIdx, podIdx, true);
    view(key).setUint16(orlopInKey.port, port, false);
    this.map("in_by_port").put(key, u32(verdict));
  }

  join(from: number, to: number): void {
    const key = new Uint8Array(orlopPairKey.size);
    view(key).setUint32(orlopPairKey.srcPodIdx, from, true);
    view(key).setUint32(orlopPairKey.dstPodIdx, to, true);
    this.map("pair_verdict").put(key, u32(ORLOP_PAIR_JOIN));
  }

  /** Its end: descriptors closed, listeners among them. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#beat);
    this.#socket.close();
    for (const map of this.maps.values()) map.close();
    for (const fd of this.#fds) closeSync(fd);
  }
}

describe("layout versions take over from each other", { concurrency: 1 }, () => {
  const cleanup: (() => unknown)[] = [];
  let old = "";
  let next = "";
  let keeper: Started;
  let agent: Agent;
  let probing: Started;
  const indices = { strict: 0, other: 0 };

  /** The prober calls for a while longer, in whatever is in force now. */
  const probedFor = (ms: number): Promise<void> => sleep(ms);

  before(async () => {
    old = buildPrevious();
    next = buildWithLayout(5);
    for (const path of [base, podsCgroup, strict.cgroup, other.cgroup, join(base, "probe")]) {
      mkdirSync(path);
      cleanup.push(() => rmdirSync(path));
    }
    const bridge = `${tag}b`;
    execFileSync("ip", ["link", "add", bridge, "type", "bridge"]);
    cleanup.push(() => execFileSync("ip", ["link", "del", bridge]));
    execFileSync("ip", ["link", "set", bridge, "up"]);
    for (const [namespace, address] of [
      [strict.namespace, strict.address],
      [other.namespace, other.address],
      [outside, "10.98.0.1"],
    ] as const) {
      execFileSync("ip", ["netns", "add", namespace]);
      cleanup.push(() => execFileSync("ip", ["netns", "del", namespace]));
      for (const line of [
        `link add eth0 netns ${namespace} type veth peer name ${namespace}`,
        `link set ${namespace} master ${bridge} up`,
        `-n ${namespace} link set lo up`,
        `-n ${namespace} link set eth0 up`,
        `-n ${namespace} addr add ${address}/24 dev eth0`,
      ]) {
        execFileSync("ip", line.split(" "));
      }
    }
    for (const pod of [strict, other]) {
      const app = await start(inNamespace(pod.namespace, application, pod.cgroup), /up/);
      cleanup.push(() => end(app, "SIGKILL"));
    }
  });
  after(async () => {
    for (const each of agents) each.close();
    if (probing?.child.exitCode === null) await end(probing, "SIGKILL");
    if (keeper?.child.exitCode === null) await end(keeper, "SIGKILL");
    if (existsSync(config.bpffs)) execFileSync("sh", ["-c", `umount ${config.bpffs} || true`]);
    for (const step of cleanup.reverse()) await step();
    rmSync(scratch, { recursive: true });
  });

  /** The links on that program's cgroup are of this layout alone. */
  async function letInBy(version: number): Promise<void> {
    const cgroup = join(base, "probe");
    const pins = join(layoutDirectory(version), "node");
    const attached = (): unknown[] =>
      JSON.parse(execFileSync("/usr/sbin/bpftool", ["-j", "cgroup", "show", cgroup], { encoding: "utf8" }) || "[]");
    for (const end = performance.now() + 60_000; !(existsSync(pins) && attached().length === 3); await sleep(50))
      assert.ok(performance.now() < end, "not let in within a minute");
    assert.deepEqual(readdirSync(pins), [String(statSync(cgroup, { bigint: true }).ino)]);
    assert.equal(attached().length, 3);
  }

  test("without a mesh the pod answers", async () => {
    const control = await start(inNamespace(outside, prober), /answered/);
    control.child.stdin?.end();
    await control.ended;
  });

  test("layout 2: enrolled, STRICT refuses", async () => {
    keeper = await startKeeper(old);
    agent = new Agent();
    assert.deepEqual(await agent.hello(2), []);
    indices.strict = await agent.enrol(strict);
    indices.other = await agent.enrol(other);
    assert.ok(existsSync(layoutDirectory(2)));
    probing = await start(inNamespace(outside, prober), /up/);
    await probedFor(300);
  });

  test("from layout 2: the older agent's state stays until an agent of ours comes, then all of it is ours", async () => {
    agent.join(indices.other, indices.strict);
    agent.plaintext(indices.other, 8001, ORLOP_IN_PASS);
    const joined = await start(inNamespace(other.namespace, holder(strict.address), other.cgroup), /up/);
    const passed = await start(inNamespace(outside, holder(other.address)), /up/);
    await end(keeper, "SIGKILL");
    keeper = await startKeeper(root);
    assert.match(keeper.output(), /another layout version is in force/);
    const older = new Agent();
    await older.ask("hello", { version: 2, node: config.node }, "refused");
    older.close();
    assert.ok(existsSync(layoutDirectory(2)), "an agent that does not speak with us changes nothing");
    await probedFor(300);
    const ours = new Agent();
    const pods = (await ours.hello(PROTOCOL_VERSION)) as { readonly podIdx: number; readonly uid: string }[];
    assert.deepEqual(
      pods.toSorted((one, another) => one.podIdx - another.podIdx),
      [
        { podIdx: indices.strict, uid: strict.uid },
        { podIdx: indices.other, uid: other.uid },
      ],
    );
    assert.deepEqual(readdirSync(join(layoutDirectory(4), "..")), ["v4"]);
    assert.match(keeper.output(), /took over .*"version":2,"pods":2/);
    await Promise.all([joined.ended, passed.ended]);
    assert.match(joined.output(), /cut|closed/);
    assert.match(passed.output(), /cut|closed/);
    await probedFor(300);
    agent.close();
    agent = ours;
    assert.equal(await agent.enrol(strict), indices.strict, "the index is kept");
    await agent.enrol(other);
  });

  test("forward to layout 5 and back to 4, each after kill -9", async () => {
    for (const [tree, gone, now] of [
      [next, 4, 5],
      [root, 5, 4],
    ] as const) {
      agent.close();
      await end(keeper, "SIGKILL");
      keeper = await startKeeper(tree);
      agent = new Agent();
      await agent.hello(PROTOCOL_VERSION);
      assert.ok(!existsSync(layoutDirectory(gone)));
      assert.ok(existsSync(layoutDirectory(now)));
      await probedFor(200);
      assert.equal(await agent.enrol(strict), indices.strict);
      await probedFor(200);
      await letInBy(now);
    }
  });

  test("back to layout 2, which knows nothing of takeovers: beside ours, then ours is removed", async () => {
    agent.close();
    await end(keeper, "SIGTERM");
    keeper = await startKeeper(old);
    agent = new Agent();
    assert.deepEqual(await agent.hello(2), []);
    await agent.enrol(strict);
    await probedFor(200);
    rmSync(layoutDirectory(4), { recursive: true });
    await probedFor(200);
  });

  test("nothing was answered all the while", async () => {
    probing.child.stdin?.end();
    await probing.ended;
    const [answered, refused = 0] = (probing.output().trim().split("\n").at(-1) ?? "").split(" ").map(Number);
    assert.equal(answered, 0);
    assert.ok(refused >= 200, `${refused} calls were refused`);
  });
});
