// support of test/kernel (root) · a node whose pods begin: a keeper in a process of its own, cgroups as a kubelet makes them, a network namespace for
// each pod on one bridge with an outside that dials all of them, and applications that listen and dial with their first instructions.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { FdSocket, KernelMap } from "../../agent/engine/addon.ts";
import { fdChannel } from "../../agent/engine/keeper-channel.ts";
import { KeeperClient } from "../../agent/engine/keeper-client.ts";
import { pinDirectory } from "../../agent/keeper/programs.ts";
import { readCounters } from "../../agent/kernel/events.ts";
import { Gate } from "../../agent/kernel/maps.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";

export type PlannedPod = {
  readonly index: number;
  readonly uid: string;
  readonly address: string;
};
/** What an application has seen. `ms`: from its first instruction to its first answer; -1: none came. */
export type AppReport = {
  readonly first: string;
  readonly tries: number;
  readonly ms: number;
  readonly reached: number;
};

const OUTSIDE = "10.98.0.1";
const PORT = 7000;
/** The programs of bpf/pending.bpf.c. */
const LINKS = 4;
const source = (name: string): string => join(import.meta.dirname, name);

export class PendingNode {
  readonly pods: readonly PlannedPod[];
  readonly client: KeeperClient;
  /** By UID: what the keeper has said that the pod had. */
  readonly found = new Map<string, string>();
  readonly log: string[] = [];
  readonly #tag = `olp${process.pid}`;
  readonly #scratch = mkdtempSync(join(tmpdir(), "orlop-pending-"));
  readonly #base: string;
  readonly #config;
  readonly #reports = new Map<string, (report: AppReport) => void>();
  readonly #outsideLines: string[] = [];
  #reporting: Promise<unknown> = Promise.resolve();
  #keeper: ChildProcess | undefined;
  #apps: ChildProcess | undefined;
  #outside: ChildProcess | undefined;
  #beat: NodeJS.Timeout | undefined;
  #counters: Parameters<typeof readCounters>[0] | undefined;

  constructor(count: number) {
    const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
    if (mount === undefined) throw new Error("this test needs cgroup v2");
    this.#base = join(mount, `orlop-pending-${process.pid}`);
    this.pods = Array.from({ length: count }, (_, at) => ({
      index: at,
      uid: `5c0ffee5-0000-4000-8000-${String(at).padStart(12, "0")}`,
      address: `10.98.${1 + Math.floor(at / 250)}.${1 + (at % 250)}`,
    }));
    this.#config = {
      node: `pending.${process.pid}`,
      directory: join(this.#scratch, "keeper"),
      socket: join(this.#scratch, "keeper", "keeper.sock"),
      stateDirectory: join(this.#scratch, "state"),
      bpffs: join(this.#scratch, "bpf"),
      podsCgroup: join(this.#base, "pods"),
      heartbeatLimitMs: 5_000,
      nodeAccess: { mode: "none" as const, kubeletCgroup: "", from: [] },
      agentUid: 61008,
      log: { level: "info" },
    };
    this.client = new KeeperClient({
      ...{
        path: this.#config.socket,
        node: this.#config.node,
        connect: fdChannel(FdSocket),
        role: () => "new" as const,
      },
    });
  }

  async start(): Promise<void> {
    mkdirSync(this.#config.podsCgroup, { recursive: true });
    const outside = `${this.#tag}o`;
    const added = [`netns add ${outside}`, ...this.pods.map(({ index }) => `netns add ${this.netns(index)}`)];
    const wired = this.pods.map(
      ({ index }) => `link add eth0 netns ${this.netns(index)} type veth peer name p${index} netns ${outside}`,
    );
    execFileSync("ip", ["-batch", "-"], {
      input: [...added, ...wired].join("\n"),
    });
    const ports = this.pods.flatMap(({ index }) => [`link set p${index} master br0 up`]);
    const bridge = [
      "link add br0 type bridge",
      "link set lo up",
      "link set br0 up",
      `addr add ${OUTSIDE}/16 dev br0`,
      ...ports,
    ];
    execFileSync("ip", ["-n", outside, "-batch", "-"], {
      input: bridge.join("\n"),
    });
    for (const { index, address } of this.pods) {
      const lines = ["link set lo up", "link set eth0 up", `addr add ${address}/16 dev eth0`];
      execFileSync("ip", ["-n", this.netns(index), "-batch", "-"], {
        input: lines.join("\n"),
      });
    }
    const asked = ["netns", "exec", outside, "python3", source("pending-outside.py"), OUTSIDE, String(PORT)];
    this.#outside = spawn("ip", asked, { stdio: ["pipe", "pipe", "inherit"] });
    if (this.#outside.stdout === null) throw new Error("no output");
    createInterface(this.#outside.stdout).on("line", (line) => this.#outsideLines.push(line));
    await this.until("the outside", () => this.#outsideLines.includes("up"));
    this.#apps = spawn("python3", [source("pending-apps.py"), OUTSIDE, String(PORT)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    if (this.#apps.stdout === null) throw new Error("no output");
    createInterface(this.#apps.stdout).on("line", (line) => {
      const [uid = "", first = "", tries, ms, reached] = line.split(" ");
      this.#reports.get(uid)?.({
        first,
        tries: Number(tries),
        ms: Number(ms),
        reached: Number(reached),
      });
    });
    await this.startKeeper();
    let gate: Gate | undefined;
    this.client.start({
      onWelcome: ({ maps }) => {
        gate = new Gate(new KernelMap(maps.gate));
        this.#counters = new KernelMap(maps.counters);
        for (const fd of Object.values(maps)) closeSync(fd);
      },
      onLost: () => {},
      onPodGuarded: (_, uid, found) => void (found && this.found.set(uid, found)),
      onPodFound: (uid, found) => void (found && this.found.set(uid, found)),
      onPodStarting: () => {},
      onPodGone: () => {},
      onYield: () => {},
      onVacant: () => {},
      onSettled: () => {},
      onReread: () => {},
    });
    this.#beat = setInterval(() => gate?.beat(process.hrtime.bigint()), 200);
    await this.until("a welcome", () => this.client.connected);
  }

  netns(index: number): string {
    return `${this.#tag}p${index}`;
  }

  async startKeeper(): Promise<void> {
    const program = `
      import { runKeeper } from ${JSON.stringify(new URL("../../agent/keeper/keeper.ts", import.meta.url).href)};
      const say = (level) => (message, fields) => console.log(level, message, JSON.stringify(fields ?? {}));
      const log = { debug() {}, info: say("info"), warn: say("warn"), error: say("error") };
      const stop = new AbortController();
      process.once("SIGTERM", () => stop.abort());
      await runKeeper(${JSON.stringify(this.#config)}, { log, signal: stop.signal, removeOnExit: true });`;
    const keeper = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#keeper = keeper;
    createInterface(keeper.stdout).on("line", (line) => this.log.push(line));
    const serving = join(this.#config.directory, "serving");
    await this.until(
      "a keeper",
      () => existsSync(serving) && readFileSync(serving, "utf8").trim() === String(keeper.pid),
    );
  }

  /** SIGKILL: it leaves everything as it is. */
  async killKeeper(): Promise<void> {
    const keeper = this.#keeper;
    if (keeper === undefined) return;
    const exited = once(keeper, "exit");
    keeper.kill("SIGKILL");
    await exited;
  }

  /** As a kubelet does, before the pod's sandbox. */
  makeCgroup({ uid }: PlannedPod): void {
    mkdirSync(join(this.#config.podsCgroup, `pod${uid}`));
  }

  /** Processes leave their cgroup a moment after their end. */
  async removeCgroup({ uid }: PlannedPod): Promise<void> {
    const pod = join(this.#config.podsCgroup, `pod${uid}`);
    for (let tries = 0; existsSync(pod); tries++) {
      try {
        for (const path of [join(pod, "app"), pod]) if (existsSync(path)) rmdirSync(path);
      } catch (error) {
        if (tries > 1_000) throw error;
        await sleep(5);
      }
    }
  }

  /** What the hooks have refused and dropped since they were loaded. */
  refusals(): { readonly connects: number; readonly packets: number } {
    if (this.#counters === undefined) throw new Error("no keeper was here yet");
    const { pending_connect: connects, pending_packet: packets } = readCounters(this.#counters);
    return { connects, packets };
  }

  get #pending(): string {
    return join(pinDirectory(this.#config.bpffs, this.#config.node), "pending");
  }

  /** Folders of pinned links, each on a cgroup of a pod that is expected. */
  pending(uid = ""): readonly string[] {
    if (!existsSync(this.#pending)) return [];
    return readdirSync(this.#pending).filter((name) => name.endsWith(uid));
  }

  isPending({ uid }: PlannedPod): boolean {
    const [folder] = this.pending(uid);
    return folder !== undefined && readdirSync(join(this.#pending, folder)).length === LINKS;
  }

  /** From here on a connect of the pod is let past, and its SYN is dropped. */
  dropInstead({ uid }: PlannedPod): void {
    for (const folder of this.pending(uid))
      for (const name of ["orlop_pending_connect4", "orlop_pending_connect6"])
        rmSync(join(this.#pending, folder, name));
  }

  /** Links on namespaces of pods. */
  guards(): readonly string[] {
    return readdirSync(join(pinDirectory(this.#config.bpffs, this.#config.node), "pods"));
  }

  /** Puts the application's first process into a cgroup below the pod's; it tries again so long after each failure. */
  async app(pod: PlannedPod, againMs: number): Promise<AppReport> {
    const cgroup = join(this.#config.podsCgroup, `pod${pod.uid}`, "app");
    mkdirSync(cgroup);
    const report = new Promise<AppReport>((resolve) => this.#reports.set(pod.uid, resolve));
    this.#apps?.stdin?.write(`${pod.uid} ${cgroup} ${this.netns(pod.index)} ${againMs}\n`);
    return report;
  }

  /** The outside dials the pod from now on, or no more. */
  knock({ address }: PlannedPod, on = true): void {
    this.#outside?.stdin?.write(`${on ? "" : "-"}${address}\n`);
  }

  /** Packets of TCP other than resets that have come from pods, by address. */
  heard(): Promise<ReadonlyMap<string, number>> {
    // Nobody could tell two reports that come at once from each other.
    const heard = this.#reporting.then(() => this.#report());
    this.#reporting = heard.catch(() => undefined);
    return heard;
  }

  /** The outside reads what is on the wire beside what it is asked. */
  async untilHeard({ uid, address }: PlannedPod): Promise<void> {
    for (let tries = 0; ((await this.heard()).get(address) ?? 0) === 0; tries++) {
      if (tries > 3_000) throw new Error(`${uid} is none of ours and reaches nobody`);
      await sleep(10);
    }
  }

  async #report(): Promise<ReadonlyMap<string, number>> {
    this.#outsideLines.length = 0;
    this.#outside?.stdin?.write("report\n");
    await this.until("a report", () => this.#outsideLines.includes("."));
    const lines = this.#outsideLines.slice(0, this.#outsideLines.indexOf("."));
    return new Map(lines.map((line) => [line.split(" ")[0] ?? "", Number(line.split(" ")[1])]));
  }

  /** From here on the pod is expected. Resolves to the index that it has now. */
  guard({ uid }: PlannedPod): Promise<number> {
    return this.asked(() => this.client.guard(uid, `cluster//Pod/shop/${uid}`));
  }

  /** The agent's word that the pod is none of ours. Its index is another once a keeper has found that its processes have gone. */
  async release(pod: PlannedPod): Promise<void> {
    await this.asked(async () => this.client.release({ podIdx: await this.guard(pod), uid: pod.uid }));
  }

  /**
   * Until it is done, since a keeper that was killed between has forgotten what it prepared; or until the application has ended, after which there
   * is nothing to capture: it may have been captured by a keeper that was killed before it said so.
   */
  capture({ uid, address }: PlannedPod, hasEnded: () => boolean): Promise<void> {
    return this.asked(async () => {
      if (hasEnded()) return;
      const { podIdx, listeners } = await this.client.prepare(uid, [address]);
      // The keeper has its own.
      for (const { fd } of listeners) closeSync(fd);
      await this.client.capture({ podIdx, uid }, false);
    });
  }

  /** Asks the keeper until it does it: it may be away, or not see the pod yet. */
  async asked<T>(ask: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await ask();
      } catch (error) {
        if (tries > 1_000) throw error;
        await sleep(10);
      }
    }
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let tries = 0; !isSo(); tries++) {
      if (tries > 15_000) throw new Error(`never: ${what}\n${this.log.slice(-20).join("\n").slice(-4_000)}`);
      await sleep(2);
    }
  }

  async stop(): Promise<void> {
    clearInterval(this.#beat);
    this.client.close();
    for (const child of [this.#keeper, this.#apps, this.#outside]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      await exited;
    }
    const names = [`${this.#tag}o`, ...this.pods.map(({ index }) => this.netns(index))];
    execFileSync("ip", ["-force", "-batch", "-"], {
      input: names.map((name) => `netns del ${name}`).join("\n"),
    });
    if (existsSync(this.#base)) writeFileSync(join(this.#base, "cgroup.kill"), "1");
    for (const pod of this.pods) await this.removeCgroup(pod);
    for (const path of [this.#config.podsCgroup, this.#base]) if (existsSync(path)) rmdirSync(path);
    if (readFileSync("/proc/self/mountinfo", "utf8").includes(this.#config.bpffs))
      execFileSync("umount", [this.#config.bpffs]);
    rmSync(this.#scratch, { recursive: true });
  }
}
