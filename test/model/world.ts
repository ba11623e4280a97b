// test model · one node with its pods, its mesh and those who watch it. What is expected of a pod follows the model's mesh;
// every answer in plaintext and every packet in the clear that nothing allowed is a violation.
import { hash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { AGENT_UID, type Cluster, createCluster, type Node } from "../box/cluster.ts";
import { Expectations } from "./expectations.ts";
import type { Kind, ModelWorld } from "./kind.ts";
import { APP_PORT, type Knocked, Knocks } from "./knocks.ts";
import {
  initialMesh,
  isMember,
  type MeshState,
  meshDocuments,
  type PodName,
  podNames,
  refusesPlaintext,
} from "./mesh.ts";
import { MeshWriter } from "./mesh-writer.ts";
import { ModelPod } from "./pod.ts";
import { Prober } from "./prober.ts";
import type { Programs } from "./programs.ts";
import { NodePrograms } from "./programs-of-node.ts";
import { pick, type Step } from "./step.ts";
import { nowUs } from "./when.ts";
import { WireWatch } from "./wire-watch.ts";

/** A pod's own calls a second, to each address of the other side. */
const OWN_CALLS = 15;
/** So many attempts in a row that all fail say that a pod refuses. */
const IN_A_ROW = 12;
/** An agent tries for three seconds to reach the other side, and ends the call then. */
const PATIENCE_S = 4;
const CALLS = 3;
/** A change that lets a pod out, or takes it in, is in force by then; with a start of both programs on a busy machine: an agent that has a twentieth of a processor takes a minute. */
export const SETTLE_MS = 150_000;
const far = { ip4: "10.90.0.201", ip6: "fd90::c9" };

export type NodeKind = Kind<World>;

/** The pod that a step is about. */
export const podOf = ({ who }: Step): "left" | "right" => (who % 2 === 0 ? "left" : "right");

export type WorldOptions = {
  readonly programs: Programs;
  /** NodeConfig and mesh are one file, as on a plain machine. */
  readonly oneFile: boolean;
};

export class World implements ModelWorld {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly run: NodePrograms;
  readonly writer: MeshWriter;
  readonly programs: Programs;
  readonly nodeConfig: string;
  readonly oneFile: boolean;
  readonly expected = new Expectations();
  readonly #pods: ReadonlyMap<PodName, ModelPod>;
  /** Each pod's own calls, of its present sandbox. */
  readonly #calls = new Map<PodName, Prober>();
  #knocks: Knocks | undefined;
  #wire: WireWatch | undefined;
  #closed = false;
  mesh: MeshState = initialMesh;

  static async open(options: WorldOptions): Promise<World> {
    const cluster = await createCluster({
      nodes: [{ name: "node-a", pods: [] }],
      nodeConfig: "  dataThreads: 1\n",
    });
    const world = new World(cluster, options);
    try {
      await world.#start();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  private constructor(cluster: Cluster, { programs, oneFile }: WorldOptions) {
    this.cluster = cluster;
    this.programs = programs;
    this.oneFile = oneFile;
    this.node = cluster.node("node-a");
    this.run = new NodePrograms(this.node);
    const config = readFileSync(this.node.configFile, "utf8");
    this.nodeConfig = oneFile ? config.replace(/^ {2}mesh: .*\n/m, "") : config;
    this.writer = oneFile
      ? new MeshWriter(this.node.configFile, [this.nodeConfig])
      : new MeshWriter(cluster.meshFile, []);
    const pods = podNames.map((name, at): [PodName, ModelPod] => {
      const inside = (pod: ModelPod): Promise<void> => this.#inside(pod, name);
      return [name, new ModelPod(name, { node: this.node, nodeIndex: 1, index: at + 1, inside })];
    });
    this.#pods = new Map(pods);
  }

  /** The application, and the pod's own calls to a member of the mesh on another node. */
  async #inside(pod: ModelPod, name: PodName): Promise<void> {
    const app = pod.run([this.programs.serve, String(APP_PORT)]);
    const targets = [far.ip4, far.ip6].map((address) => ({
      name: `far-${address}`,
      address,
      port: APP_PORT,
      perSecond: OWN_CALLS,
    }));
    const calls = new Prober({ start: (argv) => pod.run(argv) }, this.programs.probe, {
      targets,
      heard: () => {},
      patienceS: PATIENCE_S,
    });
    this.#calls.set(name, calls);
    calls.finished.catch((error) => {
      if (!this.#closed && pod.running && this.#calls.get(name) === calls) this.fails(`${name} calls nobody: ${error}`);
    });
    await app.line(10_000, (line) => line === `listening ${APP_PORT}`);
  }

  /** What outlives a reboot: the agent's and the keeper's. */
  get stateFolders(): readonly string[] {
    return [this.node.stateDir, `${this.node.stateDir}-keeper`];
  }

  /** Each on a file system of its own, small enough to be filled. */
  async #mountState(): Promise<void> {
    for (const [at, folder] of this.stateFolders.entries()) {
      const owner = at === 0 ? `uid=${AGENT_UID},gid=${AGENT_UID},mode=0700` : "mode=0755";
      const mount = `mkdir -p ${folder} && mount -t tmpfs -o size=128k,${owner} state ${folder}`;
      const { status, stderr } = await this.node.run(["sh", "-c", mount]);
      if (status !== 0) throw new Error(`${mount}: ${stderr}`);
    }
  }

  async #start(): Promise<void> {
    const { outside, wire } = this.cluster;
    await this.#mountState();
    await outside.run(["ip", "addr", "add", `${far.ip4}/24`, "dev", "eth0"]);
    await outside.run(["ip", "addr", "add", `${far.ip6}/64`, "dev", "eth0", "nodad"]);
    const app = outside.start([this.programs.serve, String(APP_PORT)]);
    await app.line(10_000, (line) => line === `listening ${APP_PORT}`);
    const pods = [...this.#pods.values()];
    const watch = await WireWatch.start(wire, this.programs.watch, {
      interface: "node1",
      far,
      pods,
      heard: (seen) => this.expected.inClear(seen),
    });
    this.#wire = watch;
    const knocks = new Knocks(outside, this.programs.probe, {
      pods,
      heard: (answered) => this.expected.answered(answered),
    });
    this.#knocks = knocks;
    for (const watcher of [knocks, watch])
      watcher.ended.catch((error) => {
        if (!this.#closed) this.fails(`a watcher ended: ${error}`);
      });
    await Promise.all(podNames.map((name) => this.startSandbox(name)));
    this.writer.renamed(this.documents());
    this.run.start();
    await this.protects();
  }

  pod(name: PodName): ModelPod {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    return pod;
  }

  documents(mesh = this.mesh): readonly string[] {
    const [left, right, calm] = podNames.map((name) => this.pod(name));
    if (left === undefined || right === undefined || calm === undefined) throw new Error("three pods");
    return meshDocuments(mesh, { node: this.node.name, pods: { left, right, calm }, far });
  }

  get violations(): readonly string[] {
    return this.expected.violations;
  }

  fails(why: string): void {
    this.expected.violated(why);
  }

  get counts(): ReadonlyMap<string, number> {
    return this.expected.counts;
  }

  /** Attempts in plaintext that were refused so far. */
  get refusals(): number {
    return this.#knocks?.refused ?? 0;
  }

  /** A new sandbox of the pod starts: until it is found it is as open as any pod that starts. */
  async startSandbox(name: PodName): Promise<void> {
    this.expected.of(name).unguarded = true;
    this.allow(name);
    await this.pod(name).start();
  }

  /** From now on the pod may answer, and call, in the clear. */
  allow(pod: PodName, what: "all" | "answers" = "all"): void {
    this.expected.allow(pod, what);
  }

  /** Waits until the mesh is in force again after a change that protects more; from then on it must hold. */
  async protects(): Promise<void> {
    const strict = podNames.filter((pod) => refusesPlaintext(this.mesh, pod));
    await this.#knocked("refuses plaintext", strict, ({ answered, failed }) =>
      answered > 0 ? "again" : failed >= IN_A_ROW,
    );
    for (const pod of strict) {
      const expected = this.expected.of(pod);
      expected.answers.close();
      expected.unguarded = false;
    }
    // With neither a copy nor a whole file nobody can know who else is in the mesh: the keeper remembers those that are strict.
    const known = this.writer.whole || (await this.#hasCopy());
    const captured = podNames.filter((name) => (known ? isMember(this.mesh, name) : strict.includes(name)));
    for (const pod of captured) await this.#captured(pod);
  }

  async #hasCopy(): Promise<boolean> {
    return (await this.node.run(["test", "-e", `${this.node.stateDir}/last-good.json`])).status === 0;
  }

  async #captured(pod: PodName): Promise<void> {
    const expected = this.expected.of(pod);
    if (!expected.ownCalls.isOpen) return;
    const calls = this.#calls.get(pod);
    let markedUs = 0;
    let endedUs = Number.POSITIVE_INFINITY;
    const mark = (): void => {
      calls?.mark();
      [markedUs, endedUs] = [nowUs(), Number.POSITIVE_INFINITY];
    };
    mark();
    await this.#within(
      () =>
        `the calls of ${pod} are captured: ${calls?.text()}, older ${calls?.older}, in the clear ${nowUs() - expected.lastOwnUs} us ago`,
      () => {
        // Only a call in the clear is answered, and what began in the clear goes on so: its first packet is repeated until it is given up.
        if ((calls?.answered ?? 0) > 0 || expected.lastOwnUs >= markedUs) mark();
        // A strict pod of which the agent does not know yet is held by the keeper alone: its calls wait for an agent, unheard.
        const ended = refusesPlaintext(this.mesh, pod) ? calls?.unanswered : calls?.failed;
        if (calls?.older === 0 && (ended ?? 0) >= CALLS) endedUs = Math.min(endedUs, nowUs());
        // Whatever calls sent that ended by then was looked at.
        return (this.#wire?.readUntilUs ?? 0) > endedUs;
      },
    );
    expected.ownCalls.close();
  }

  /** Waits until these pods answer in plaintext, as the mesh now says they may. */
  async answers(pods: readonly PodName[]): Promise<void> {
    // At its first address; those that no Workload names are the pod's own affair.
    await this.#knocked("answers plaintext", pods, ({ answered, first }) => !first || answered > 0);
  }

  /** Waits until so many more attempts at each pod that runs have come to an end. */
  async watched(attempts: number): Promise<void> {
    const pods = podNames.filter((name) => this.pod(name).running);
    await this.#knocked("is knocked at", pods, ({ all }) => all >= attempts);
  }

  /** What the systemd unit waits for before it lets services start. */
  async keeperServes(): Promise<void> {
    const socket = `${this.node.runDir}-keeper/keeper.sock`;
    await until("the keeper serves", SETTLE_MS, () => (existsSync(socket) ? true : undefined));
  }

  /** The copy for the next start is that of the mesh as it is written: it is kept some seconds after that, when there is room. */
  async kept(): Promise<void> {
    const digest = hash("sha256", readFileSync(this.writer.path), "hex");
    await until("the mesh is kept", SETTLE_MS, async () => {
      const { stdout } = await this.node.run(["cat", `${this.node.stateDir}/last-good.json`]);
      // The last line has the latest change.
      return stdout.split("\n").at(-1)?.includes(digest) ? true : undefined;
    });
  }

  async ready(): Promise<void> {
    await until("the node is ready", SETTLE_MS, async () =>
      (await readiness(this.node)) === "ready" ? true : undefined,
    );
  }

  /** Waits until the mesh is served: the agent is ready, and one pod is answered by the other two that may call. */
  async served(): Promise<void> {
    const sound = podNames.filter((name) => isMember(this.mesh, name) && this.mesh.pods[name].mistake === "");
    await this.ready();
    await until("the mesh is in force", SETTLE_MS, async () =>
      (await view(this.node, "status")).source.state === "synced" ? true : undefined,
    );
    const [first, second] = sound;
    if (first === undefined || second === undefined) return;
    let said = "";
    await until(`${first} is answered by ${second}`, SETTLE_MS, async () => {
      const call = this.pod(first).run([this.programs.probe, "1", `call=${this.pod(second).ip4}/${APP_PORT}/200`]);
      try {
        said = await call.line(2_000, (line) => /^(answered|tally) /.test(line));
      } finally {
        call.kill("SIGKILL");
      }
      return said.startsWith("answered") ? true : undefined;
    });
  }

  /** An operator's hand: what ended by itself is started again. */
  startIfEnded(): void {
    if (!this.run.hasEnded) return;
    this.expected.count("orlop run ended by itself");
    this.run.start();
  }

  /** Few attempts at each pod, or enough for what takes a second. */
  async hold(n: number): Promise<void> {
    this.startIfEnded();
    await this.watched(pick(n, 2, 6, 20, 60, 150));
  }

  get output(): string {
    const lines = this.run.output.split("\n").filter((line) => !line.includes("handshake failed"));
    return lines.slice(-60).join("\n");
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.cluster.close();
  }

  /** `enough` is asked of each address; "again": only attempts from now on count. */
  async #knocked(
    what: string,
    pods: readonly PodName[],
    enough: (knocked: Knocked) => boolean | "again",
  ): Promise<void> {
    const knocks = this.#knocks;
    if (knocks === undefined) throw new Error("nobody knocks");
    knocks.mark();
    await this.#within(
      () => `${pods.join(" and ")} ${what}: ${knocks.text(pods)}`,
      async () => {
        const said = knocks.at(pods).map(enough);
        if (said.includes("again")) knocks.mark();
        if (said.every((answer) => answer === true)) return true;
        await knocks.news(100);
        return false;
      },
    );
  }

  /** What the agent says of the mesh that it has. */
  async #mesh(): Promise<string> {
    try {
      const { source } = await view(this.node, "status");
      return `${source.state} since ${source.appliedAt}`;
    } catch (error) {
      return String(error);
    }
  }

  async #within(what: () => string, done: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + SETTLE_MS;
    while (!(await done())) {
      if (this.violations.length > 0) return;
      if (performance.now() > end) {
        this.fails(`not within ${SETTLE_MS} ms: ${what()}; the agent: ${await this.#mesh()}`);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
