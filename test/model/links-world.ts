// test model · two nodes, six pods, a host outside, and connections of every kind between them. After each step those that live
// are those that a new call would be granted.
import { setTimeout as sleep } from "node:timers/promises";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Node } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import { type LinkKind, LinkTable } from "./holder.ts";
import type { Kind, ModelWorld } from "./kind.ts";
import {
  type Call,
  type EndName,
  initialMesh,
  Judgement,
  type MeshFacts,
  type MeshState,
  meshText,
  nodeOf,
  type PodName,
  podNames,
} from "./links-mesh.ts";
import { ModelPod } from "./pod.ts";
import type { Programs } from "./programs.ts";
import { NodePrograms } from "./programs-of-node.ts";
import { Roots } from "./roots.ts";

export const PLAIN_PORT = 8_080;
export const MPTCP_PORT = 8_081;
/** A mesh is in force by then, with a start of all programs on a busy machine. */
export const SETTLE_MS = 60_000;
/** So long after the mesh is in force, no connection lives that a new call would not be granted, ms; far less where the machine has time. */
const ENDED_MS = 20_000;
/** A call that nobody has answered by then is made again, ms. */
const ATTEMPT_MS = 5_000;
/** So long nothing comes back of what was sent; a path that is lost is tried again sooner. */
const SILENT_MS = 1_500;

export type Link = Call & {
  readonly id: string;
  readonly kind: LinkKind;
  /** It crossed nodes between members of the mesh when it was dialled; what was plaintext then stays plaintext. */
  readonly isTunnel: boolean;
  /** Nothing has happened that may cut a connection which is allowed. */
  undisturbed: boolean;
};

export type LinksOptions = {
  readonly programs: Programs;
  /** Workloads that are nowhere, so that the tables are long. */
  readonly fillers: number;
};

export type LinkStep = Kind<LinksWorld>;

export class LinksWorld implements ModelWorld {
  readonly cluster: Cluster;
  readonly programs: Programs;
  readonly nodes: readonly { readonly node: Node; readonly run: NodePrograms }[];
  readonly table = new LinkTable();
  readonly links = new Map<string, Link>();
  readonly violations: string[] = [];
  readonly roots: Roots;
  readonly #fillers: number;
  readonly #pods: ReadonlyMap<PodName, ModelPod>;
  readonly #holders = new Map<EndName, Running>();
  #edits = 0;
  #judgement: Judgement | undefined;
  #writtenMs = 0;
  #made = 0;
  #checks = 0;
  #closed = false;
  mesh: MeshState = initialMesh;

  static async open(options: LinksOptions): Promise<LinksWorld> {
    const cluster = await createCluster({
      nodes: ["node-a", "node-b"].map((name) => ({ name, pods: [] })),
      nodeConfig: "  dataThreads: 1\n",
    });
    const world = new LinksWorld(cluster, options);
    try {
      await world.#start();
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  private constructor(cluster: Cluster, { programs, fillers }: LinksOptions) {
    this.cluster = cluster;
    this.programs = programs;
    this.#fillers = fillers;
    this.roots = new Roots(cluster);
    this.nodes = cluster.nodes.map((node) => ({ node, run: new NodePrograms(node) }));
    const counts = { "node-a": 0, "node-b": 0 };
    this.#pods = new Map(
      podNames.map((name): [PodName, ModelPod] => {
        const node = nodeOf(name);
        counts[node] += 1;
        const nodeIndex = node === "node-a" ? 1 : 2;
        const inside = (pod: ModelPod): Promise<void> => this.#inside(pod, name);
        return [name, new ModelPod(name, { node: cluster.node(node), nodeIndex, index: counts[node], inside })];
      }),
    );
  }

  async #start(): Promise<void> {
    const { outside } = this.cluster;
    await this.roots.make();
    await this.#programsOf("outside", { run: (argv) => outside.start(argv) });
    await Promise.all([...this.#pods.values()].map((pod) => pod.start()));
    this.write(this.mesh);
    for (const { run } of this.nodes) run.start();
    await this.inForce();
  }

  /** Application and holder of connections; `mute` sends no reset, so that nobody hears that its connections ended. */
  async #inside(pod: ModelPod, name: PodName): Promise<void> {
    if (name === "mute") {
      for (const iptables of ["iptables", "ip6tables"]) {
        const silent = pod.run([iptables, "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"]);
        const { status, stderr } = await silent.wait(10_000);
        if (status !== 0) throw new Error(`${iptables}: ${stderr}`);
      }
    }
    await this.#programsOf(name, pod);
  }

  async #programsOf(name: EndName, where: { run(argv: readonly string[]): Running }): Promise<void> {
    const holder = where.run([this.programs.hold]);
    const app = where.run([this.programs.serve, String(PLAIN_PORT), `${MPTCP_PORT}m`]);
    await app.line(10_000, (line) => line === `listening ${MPTCP_PORT}`);
    this.#holders.set(name, holder);
    void this.table.follow(holder);
    void this.table.follow(app);
  }

  get facts(): MeshFacts {
    const { ip4, ip6 } = this.cluster.outside;
    const facts = (name: PodName) => this.pod(name);
    return {
      client: facts("client"),
      mute: facts("mute"),
      server: facts("server"),
      seen: facts("seen"),
      far: facts("far"),
      remote: facts("remote"),
      outside: { uid: "", ip4, ip6 },
    };
  }

  pod(name: PodName): ModelPod {
    const pod = this.#pods.get(name);
    if (pod === undefined) throw new Error(`no pod ${name}`);
    return pod;
  }

  programsOn(name: PodName): { readonly node: Node; readonly run: NodePrograms } {
    const found = this.nodes.find(({ node }) => node.name === nodeOf(name));
    if (found === undefined) throw new Error(`no node of ${name}`);
    return found;
  }

  /** Of the mesh as it was written last. */
  judgement(): Judgement {
    this.#judgement ??= new Judgement(this.text(), this.facts);
    return this.#judgement;
  }

  text(): string {
    return meshText(this.mesh, this.facts, this.#fillers, this.#edits);
  }

  write(mesh: MeshState): void {
    this.#edits += 1;
    this.#judgement = undefined;
    this.mesh = mesh;
    this.#writtenMs = Date.now();
    this.cluster.writeMesh(this.text());
  }

  /** Waits until both agents have taken the file over as it is and serve every pod of theirs. */
  async inForce(): Promise<void> {
    await Promise.all(
      this.nodes.map(async ({ node, run }) => {
        if (run.hasEnded) run.start();
        await until(`${node.name} has the mesh in force`, SETTLE_MS, async () => {
          const { source, pods, pending } = await view(node, "status");
          const isTaken = source.state === "synced" && Date.parse(source.appliedAt) >= this.#writtenMs;
          return isTaken && pending.length === 0 && pods.captured === pods.wanted ? true : undefined;
        });
      }),
    );
  }

  /** Whatever of these pods' connections is allowed may be cut by what is done now. */
  disturb(isOf: (link: Link) => boolean): void {
    for (const link of this.links.values()) if (isOf(link)) link.undisturbed = false;
  }

  dial(call: Call, kind: LinkKind): Link {
    this.#made += 1;
    const judgement = this.judgement();
    const isTunnel =
      this.#nodeOf(call.from) !== this.#nodeOf(call.to) && judgement.isMember(call.from) && judgement.isMember(call.to);
    const link = { ...call, kind, id: `${call.from}-${call.to}-${this.#made}`, isTunnel, undisturbed: true };
    this.links.set(link.id, link);
    this.table.opening(link.id);
    const { ip4, ip6 } = this.facts[call.to];
    this.#tell(call.from, `open ${link.id} ${kind} ${call.family === 4 ? ip4 : ip6} ${call.port}`);
    return link;
  }

  complete(link: Link): void {
    this.#tell(link.from, `complete ${link.id}`);
  }

  #tell(end: EndName, order: string): void {
    this.#holders.get(end)?.write(`${order}\n`);
  }

  /** Soon a new call comes up if and only if the oracle grants it; those that came up before that are held to it later. */
  async expectDialled(call: Call, kind: LinkKind): Promise<void> {
    const wanted = this.judgement().allows(call) ? "up" : "ended";
    const end = performance.now() + ENDED_MS;
    // `mute` does not hear that a call was refused before the last table was written; it calls again while there is time.
    const attemptMs = call.from === "mute" && wanted === "up" ? SILENT_MS : ATTEMPT_MS;
    for (;;) {
      const link = this.dial(call, kind);
      await this.#within(attemptMs, () => this.table.client(link.id) !== "opening");
      // Its own rules keep from `mute` that its agent has refused a call; the application never hears of the call.
      const isSilent = call.from === "mute" && this.table.client(link.id) === "opening";
      const seen = isSilent && !this.table.isServed(link.id) ? "ended" : this.table.client(link.id);
      if (seen === "ended") this.links.delete(link.id);
      if (seen === wanted) return;
      if (performance.now() < end) {
        await this.table.news(50);
        continue;
      }
      const why = this.table.why(link.id);
      this.#violated(`a new call, ${describe(link)}, is ${seen} ${why}, and not ${wanted}`);
      return;
    }
  }

  async hold(): Promise<void> {
    await this.inForce();
    await this.expectOracle();
  }

  /** What lives becomes what would be granted. */
  async expectOracle(): Promise<void> {
    const judgement = this.judgement();
    const denied = [...this.links.values()].filter(
      (link) => judgement.isNamed(link) && !this.#isGranted(judgement, link),
    );
    // Of a connection of MPTCP its paths are ended; its socket says so a minute later, unless another path comes. None may carry a byte.
    const paths = denied.filter(({ kind }) => kind === "mptcp");
    const lives = ({ id, kind, from }: Link): boolean =>
      kind !== "mptcp" && ((this.table.client(id) === "up" && from !== "mute") || this.table.isServed(id));
    await this.#within(ENDED_MS, () => !denied.some(lives));
    for (const link of denied) {
      if (lives(link)) {
        const ends = `${this.table.client(link.id)} at the caller, ${this.table.isServed(link.id) ? "served" : "ended"} at the application`;
        this.#violated(`${describe(link)} lives on: ${ends}`);
      }
      if (this.table.client(link.id) !== "opening") this.links.delete(link.id);
    }
    await this.#expectLiving(judgement, await this.#expectSilent(paths));
  }

  /** Soon what is sent on these is not answered any more. Returns the number of the last check, which went to all connections. */
  async #expectSilent(links: readonly Link[]): Promise<number> {
    const end = performance.now() + ENDED_MS;
    for (;;) {
      const check = this.#check();
      const echoes = ({ id }: Link): boolean => this.table.echoed(id) >= check;
      if (links.length > 0) await this.#within(SILENT_MS, () => links.some(echoes));
      if (!links.some(echoes)) return check;
      if (performance.now() < end && !this.#closed) {
        await sleep(100);
        continue;
      }
      for (const link of links.filter(echoes)) this.#violated(`${describe(link)} lives on: it is answered`);
      return check;
    }
  }

  /** Sends a line on every connection. */
  #check(): number {
    this.#checks += 1;
    for (const holder of this.#holders.values()) if (holder.running) holder.write(`check ${this.#checks}\n`);
    return this.#checks;
  }

  async #expectLiving(judgement: Judgement, check: number): Promise<void> {
    const granted = [...this.links.values()].filter(
      (link) => link.kind !== "half" && link.undisturbed && judgement.isNamed(link) && this.#isGranted(judgement, link),
    );
    const missing = (): Link[] => granted.filter(({ id }) => this.table.echoed(id) < check);
    await this.#within(ENDED_MS, () => missing().length === 0);
    for (const link of missing())
      this.#violated(`${describe(link)} was cut: ${this.table.client(link.id)} ${this.table.why(link.id)}`);
    for (const [id, { kind }] of this.links)
      if (kind !== "half" && this.table.client(id) === "ended" && !this.table.isServed(id)) this.links.delete(id);
  }

  #isGranted(judgement: Judgement, link: Link): boolean {
    return judgement.allows(link) && (this.roots.areTrusted || !link.isTunnel);
  }

  #nodeOf(end: EndName): string {
    return end === "outside" ? "outside" : nodeOf(end);
  }

  get living(): number {
    return [...this.links.keys()].filter((id) => this.table.client(id) === "up").length;
  }

  fails(why: string): void {
    this.#violated(why);
  }

  #violated(what: string): void {
    this.violations.push(what);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.cluster.close();
  }

  get output(): string {
    return this.nodes
      .map(({ node, run }) => `${node.name}:\n${run.output.split("\n").slice(-30).join("\n")}`)
      .join("\n");
  }

  async #within(ms: number, done: () => boolean): Promise<void> {
    const end = performance.now() + ms;
    while (!done() && performance.now() < end && !this.#closed) await this.table.news(50);
  }
}

function describe({ id, kind, family, port }: Link): string {
  return `${id} (${kind}, IPv${family}, port ${port})`;
}
