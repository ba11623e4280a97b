// support of test/kernel (root) · one enrolled pod and one outside namespace joined by a veth, the hooks loaded from a bpf
// file system of their own, and small programs run inside either. Everything is removed by `remove`.
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import net from "node:net";
import { endianness, tmpdir } from "node:os";
import { join } from "node:path";
import {
  orlopDst,
  orlopFlow,
  orlopGate,
  orlopInKey,
  orlopOutKey,
  orlopPod,
  orlopPodIp,
  orlopSocketKey,
} from "../../agent/abi.ts";
import { RingBuffer } from "../../agent/engine/addon.ts";
import { type KernelMap, PodThread, Programs } from "../../agent/keeper/addon.ts";
import { SEVER_MAPS, SURVEY_MAPS } from "../../agent/keeper/programs.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";
import { until } from "../loopback/until.ts";
import { endpoint, type SeenEvent, type SeenTraffic, takeEvents, trafficIn } from "./hook-reports.ts";
import {
  type Place,
  runAt,
  runPython,
  type StartedProgram,
  startPython,
  untilHalfOpen,
  untilListening,
} from "./namespace-programs.ts";

const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
export const POD4 = "10.99.0.2";
export const POD6 = "fd99::2";
export const OUTSIDE4 = "10.99.0.1";
export const OUTSIDE6 = "fd99::1";
export const POD_IDX = 7;
/** Of a heartbeat's age: more than a program of a test may take (`runAt`), since most tests beat once before they start a program. */
export const LIMIT_NS = 30_000_000_000n;

/** Runs `steps` from the last to the first, all of them, and throws the first error at the end. */
function undo(steps: (() => void)[]): void {
  const errors: unknown[] = [];
  for (const step of steps.reverse()) {
    try {
      step();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

/** A process that was killed leaves its cgroup a moment later. */
function rmdirWhenEmpty(path: string): void {
  for (let tries = 0; ; tries++) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (tries > 200) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

let made = 0;

export class HookBench {
  readonly programs: Programs;
  readonly thread: PodThread;
  readonly netnsFd: number;
  readonly podCgroup: string;
  readonly pins: string;
  readonly #names: { readonly pod: string; readonly outside: string };
  readonly #events: InstanceType<typeof RingBuffer>;
  readonly #undo: (() => void)[] = [];
  #beating: NodeJS.Timeout | undefined;
  #admitted = false;
  cookie = 0n;

  constructor(maxEntries: Readonly<Record<string, number>> = {}) {
    const tag = `${process.pid}-${made++}`;
    this.#names = { pod: `ol-p-${tag}`, outside: `ol-o-${tag}` };
    const { pod, outside } = this.#names;
    const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
    if (mount === undefined) throw new Error("this test needs cgroup v2");
    const base = join(mount, `orlop-hooks-${tag}`);
    this.podCgroup = join(base, "pods", "pod1");
    const home = join(mount, /^0::(\/.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/");
    for (const path of [base, join(base, "own"), join(base, "pods"), this.podCgroup]) {
      mkdirSync(path);
      this.#undo.push(() => rmdirSync(path));
    }
    // Sockets belong to the cgroup of their maker: ours are the keeper's.
    writeFileSync(join(base, "own", "cgroup.procs"), String(process.pid));
    this.#undo.push(() => writeFileSync(join(home, "cgroup.procs"), String(process.pid)));
    this.pins = mkdtempSync(join(tmpdir(), "orlop-hooks-"));
    execFileSync("mount", ["-t", "bpf", "bpf", this.pins]);
    this.#undo.push(() => {
      execFileSync("umount", [this.pins]);
      rmdirSync(this.pins);
    });
    for (const name of [pod, outside]) {
      execFileSync("ip", ["netns", "add", name]);
      this.#undo.push(() => execFileSync("ip", ["netns", "del", name]));
    }
    const lines = [
      `link add eth0 netns ${pod} type veth peer name eth0 netns ${outside}`,
      ...[
        [pod, POD4, POD6],
        [outside, OUTSIDE4, OUTSIDE6],
      ].flatMap(([name, v4, v6]) => [
        `-n ${name} link set lo up`,
        `-n ${name} link set eth0 up`,
        `-n ${name} addr add ${v4}/24 dev eth0`,
        `-n ${name} addr add ${v6}/64 dev eth0 nodad`,
      ]),
    ];
    for (const line of lines) execFileSync("ip", line.split(" "));
    this.netnsFd = openSync(`/var/run/netns/${pod}`, "r");
    this.#undo.push(() => closeSync(this.netnsFd));
    this.programs = new Programs({ pinDir: join(this.pins, "orlop"), heartbeatLimitNs: LIMIT_NS, maxEntries });
    this.#undo.push(() => this.programs.close());
    this.programs.attachCgroup(join(base, "pods"), join(this.pins, "orlop", "links"), "all");
    this.programs.attachCgroup(join(base, "own"), join(this.pins, "orlop", "own"), "sockops-only");
    this.programs.attachNamespace(this.netnsFd, this.lookupPin, 0);
    this.thread = new PodThread(this.map("dst_of_sock").fd);
    this.#undo.push(() => this.thread.close());
    const surveyFds = Int32Array.from(SURVEY_MAPS, (name) => this.map(name).fd);
    this.thread.openSurvey(SURVEY_MAPS, surveyFds);
    this.#events = new RingBuffer(this.map("events").fd);
    this.#undo.push(() => this.#events.close());
  }

  get #inPod(): Place {
    return { namespace: this.#names.pod, cgroup: this.podCgroup };
  }

  /** Outside, but in the cgroup of pods, as another enrolled pod is. */
  get #inOther(): Place {
    return { namespace: this.#names.outside, cgroup: this.podCgroup };
  }

  /** Of the link of sk_lookup on the pod's namespace. */
  get lookupPin(): string {
    return join(this.pins, "orlop", "lookup");
  }

  /** For `ip -n` and as a path below /var/run/netns. */
  get outsideName(): string {
    return this.#names.outside;
  }

  get podName(): string {
    return this.#names.pod;
  }

  map(name: string): KernelMap {
    return this.programs.map(name);
  }

  get severFds(): Int32Array {
    return Int32Array.from(SEVER_MAPS, (name) => this.map(name).fd);
  }

  /**
   * A sweep of a namespace, as the keeper has it made; how many connections it ended.
   * @throws when it ended some although the survey, by which the keeper spares itself a sweep, had not found the pod
   */
  async sever(netnsFd = this.netnsFd, podIdx = POD_IDX): Promise<number> {
    const due = await this.survey(netnsFd, podIdx);
    const ended = await this.thread.sever(netnsFd, this.severFds, podIdx);
    if (ended > 0 && !due) throw new Error(`the survey passed by ${ended} connections that had to end`);
    return ended;
  }

  /** Would the keeper sweep this pod? */
  async survey(netnsFd = this.netnsFd, podIdx = POD_IDX): Promise<boolean> {
    return (await this.thread.survey(Int32Array.of(netnsFd), Int32Array.of(podIdx))).includes(podIdx);
  }

  /** Writes what the keeper writes of an enrolled pod. */
  async enrol(flags = 0, addresses: readonly string[] = [POD4, POD6]): Promise<void> {
    this.cookie = (await this.thread.podInfo(this.netnsFd)).cookie;
    const value = new Uint8Array(orlopPod.size);
    view(value).setUint32(orlopPod.podIdx, POD_IDX, little);
    view(value).setUint32(orlopPod.flags, flags, little);
    const ip = new Uint8Array(orlopPodIp.size);
    view(ip).setUint32(orlopPodIp.podIdx, POD_IDX, little);
    for (const address of addresses) {
      value.set(ipToBytes16(address), address.includes(":") ? orlopPod.ip6 : orlopPod.ip4);
      this.map("pod_by_ip").put(ipToBytes16(address), ip);
    }
    const key = new Uint8Array(8);
    view(key).setBigUint64(0, this.cookie, little);
    this.map("pod_by_netns").put(key, value);
    if (!this.#admitted) this.programs.attachNamespace(this.netnsFd, this.lookupPin, POD_IDX);
    this.#admitted = true;
  }

  /** @param agoNs age of the agent's heartbeat. @param meshWritten whether a miss in out_by_dst means outside the mesh */
  beat(agoNs: bigint, meshWritten = false): void {
    const value = new Uint8Array(orlopGate.size);
    view(value).setBigUint64(orlopGate.beatNs, process.hrtime.bigint() - agoNs, little);
    view(value).setBigUint64(orlopGate.limitNs, LIMIT_NS, little);
    view(value).setBigUint64(orlopGate.meshWritten, meshWritten ? 1n : 0n, little);
    this.map("gate").put(new Uint8Array(4), value);
  }

  /** Beats until `remove`, as an agent does: for tests that may take longer than the limit. */
  keepBeating(meshWritten = false): void {
    clearInterval(this.#beating);
    this.beat(0n, meshWritten);
    this.#beating = setInterval(() => this.beat(0n, meshWritten), 500);
  }

  stopBeating(): void {
    clearInterval(this.#beating);
  }

  said(
    map: "in_by_port" | "out_by_dst",
    where: number | readonly [address: string, port: number],
    verdict: number,
  ): void {
    const key = new Uint8Array(map === "in_by_port" ? orlopInKey.size : orlopOutKey.size);
    if (typeof where === "number") {
      view(key).setUint32(orlopInKey.podIdx, POD_IDX, little);
      view(key).setUint16(orlopInKey.port, where, false);
    } else {
      key.set(ipToBytes16(where[0]), orlopOutKey.dst);
      view(key).setUint16(orlopOutKey.port, where[1], false);
    }
    const value = new Uint8Array(4);
    view(value).setUint32(0, verdict, little);
    this.map(map).put(key, value);
  }

  setInboundListener(family: 4 | 6, fd: number, port = 15006): void {
    const key = new Uint8Array(orlopSocketKey.size);
    view(key).setUint32(orlopSocketKey.podIdx, POD_IDX, little);
    view(key).setUint16(orlopSocketKey.family, family, little);
    view(key).setUint16(orlopSocketKey.port, port, false);
    const value = new Uint8Array(8);
    view(value).setBigUint64(0, BigInt(fd), little);
    this.map("inbound_socket").put(key, value);
  }

  /** What a counter has counted on all CPUs. */
  count(reason: number): number {
    const key = new Uint8Array(4);
    view(key).setUint32(0, reason, little);
    const value = this.map("counters").get(key) ?? Buffer.alloc(0);
    let sum = 0n;
    for (let at = 0; at < value.length; at += 8) sum += view(value).getBigUint64(at, little);
    return Number(sum);
  }

  /** Published destinations by source: `10.99.0.2 40000` → `1.2.3.4 80`. */
  flows(): Map<string, string> {
    const out = new Map<string, string>();
    const map = this.map("dst_of_flow");
    for (const key of map.keys()) {
      const value = map.get(key);
      if (value)
        out.set(endpoint(key, orlopFlow.src, orlopFlow.srcPort), endpoint(value, orlopDst.addr, orlopDst.port));
    }
    return out;
  }

  /** Where the connection that the agent's listener sees from `source` to `listener` meant to go; both as `<address> <port>`. */
  destinationOf(source: string, listener: string): string | undefined {
    const [src = "", port = ""] = source.split(" ");
    const key = new Uint8Array(orlopFlow.size);
    view(key).setBigUint64(orlopFlow.netnsCookie, this.cookie, little);
    key.set(ipToBytes16(src), orlopFlow.src);
    view(key).setUint16(orlopFlow.srcPort, Number(port), false);
    key.set(ipToBytes16(listener.split(" ")[0] ?? "").subarray(12), orlopFlow.listener);
    const value = this.map("dst_of_flow").get(key);
    return value && endpoint(value, orlopDst.addr, orlopDst.port);
  }

  /** The pod's row of a direction and port, of all ways together. */
  traffic(direction: number, port: number): SeenTraffic {
    return trafficIn(this.map("traffic"), { podIdx: POD_IDX, direction, port });
  }

  /** Until so many connections have ended: close() returns before the kernel has handled the last packets of an end. */
  untilEnded(direction: number, port: number, count: number): Promise<void> {
    const what = `${count} ends of connections at port ${port}`;
    return until(() => this.traffic(direction, port).closed >= count, what);
  }

  /** Takes the events that wait. */
  events(): SeenEvent[] {
    return takeEvents(this.#events);
  }

  /** A listener in the pod that plays the agent: answers each connection with `reply` once it has read something. */
  async agentListens(
    address: string,
    port: number,
    reply = "agent",
  ): Promise<{ fd: number; sources: string[]; locals: string[]; close(): void }> {
    const fd = await this.thread.listen(this.netnsFd, address, port, { transparent: false });
    const sources: string[] = [];
    const locals: string[] = [];
    const open = new Set<net.Socket>();
    const server = net.createServer((socket) => {
      open.add(socket.once("close", () => open.delete(socket)));
      sources.push(`${socket.remoteAddress?.replace("::ffff:", "")} ${socket.remotePort}`);
      locals.push(`${socket.localAddress} ${socket.localPort}`);
      socket.on("error", () => {}); // The program in the pod ends as it likes.
      socket.once("data", () => socket.end(reply));
    });
    server.listen({ fd });
    // Under a flood the kernel answers with SYN cookies, and may hand out a connection whose client has long reset it.
    const close = (): void => {
      server.close();
      for (const socket of open) socket.destroy();
    };
    this.#undo.push(close);
    return { fd, sources, locals, close };
  }

  /** Runs Python in the pod, in its cgroup; its output. */
  inPod(code: string, command: readonly string[] = ["python3", "-c", code]): Promise<string> {
    return runAt(this.#inPod, command);
  }

  /** Runs Python outside, but in the cgroup of pods: what another enrolled pod does. */
  inOther(code: string): Promise<string> {
    return runPython(this.#inOther, code);
  }

  /** Starts Python in the pod. */
  startInPod(code: string): StartedProgram {
    return this.#start(this.#inPod, code);
  }

  /** The same outside, in the cgroup of pods. */
  startInOther(code: string): StartedProgram {
    return this.#start(this.#inOther, code);
  }

  /** The same outside, in the cgroup of the test, or in another. */
  startOutside(code: string, cgroup?: string): StartedProgram {
    return this.#start({ namespace: this.#names.outside, cgroup }, code);
  }

  /** A cgroup of the node, beside that of all pods and above `podCgroup`. */
  makeCgroup(name: string): string {
    const path = join(this.podCgroup, "..", "..", name);
    mkdirSync(path);
    this.#undo.push(() => rmdirWhenEmpty(path));
    return path;
  }

  #start(place: Place, code: string): StartedProgram {
    const program = startPython(place, code);
    this.#undo.push(program.kill);
    return program;
  }

  /** Runs Python in the pod's namespace but not in its cgroup: nothing of what it dials is captured. */
  unseen(code: string): Promise<string> {
    return runPython({ namespace: this.#names.pod }, code);
  }

  /** The same outside, in the cgroup of the test. */
  outside(code: string): Promise<string> {
    return runPython({ namespace: this.#names.outside }, code);
  }

  /** Until a program of `outside` listens on the port. */
  listensOutside(port: number): Promise<void> {
    return untilListening(this.#names.outside, port);
  }

  /** The same of the pod. */
  listensInPod(port: number): Promise<void> {
    return untilListening(this.#names.pod, port);
  }

  /** Until the pod has a handshake under way with a client outside, at this port of the client's. */
  halfOpenInPod(clientPort: number): Promise<void> {
    return untilHalfOpen(this.#names.pod, clientPort);
  }

  remove(): void {
    this.stopBeating();
    undo(this.#undo);
  }
}
