// test model · a pod of the models: cgroup and sandbox (network namespace), made, ended and made anew with what runs inside.
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { Node } from "../box/cluster.ts";
import { podAddresses, podLines, vethLine } from "../box/network.ts";
import { type Place, type Running, startAt, startNamespace, tail } from "../box/process.ts";

const START_MS = 20_000;

export type PodOptions = {
  readonly node: Node;
  /** Both count from 1: the node in the cluster, the pod on its node. */
  readonly nodeIndex: number;
  readonly index: number;
  /** Starts what runs in the pod; resolves when the pod is up. */
  readonly inside: (pod: ModelPod) => Promise<void>;
};

export class ModelPod {
  readonly name: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly second: string;
  readonly #options: PodOptions;
  uid: string = randomUUID();
  #place: Place | undefined;

  constructor(name: string, options: PodOptions) {
    this.name = name;
    this.#options = options;
    ({ ip4: this.ip4, ip6: this.ip6 } = podAddresses(options.nodeIndex, options.index));
    this.second = `10.90.${options.nodeIndex}.${100 + options.index}`;
  }

  get addresses(): readonly string[] {
    return [this.ip4, this.ip6, this.second];
  }

  get running(): boolean {
    return this.#place !== undefined;
  }

  get #cgroup(): string {
    return path.join(this.#options.node.podsCgroup, `pod${this.uid}`);
  }

  run(argv: readonly string[]): Running {
    if (this.#place === undefined) throw new Error(`pod ${this.name} has no sandbox`);
    return startAt(this.#place, argv);
  }

  async start(): Promise<void> {
    const { node, nodeIndex, index, inside } = this.#options;
    mkdirSync(this.#cgroup, { recursive: true });
    const holder = startNamespace(this.name, this.#cgroup, false);
    await holder.line(START_MS, (line) => line === "up");
    const port = `pod${index}`;
    this.#ip(vethLine({ pid: node.place.pid, name: port }, { pid: holder.pid, name: "eth0" }));
    const own = [
      // The node keeps no stale neighbour: the new sandbox has the old one's address.
      `link set eth0 address 02:90:00:00:0${nodeIndex}:${index.toString(16).padStart(2, "0")}`,
      ...podLines(nodeIndex, index),
      `addr add ${this.second}/24 dev eth0`,
    ];
    holder.write(`ip -batch - <<'LINES'\n${own.join("\n")}\nLINES\necho ready\nexec sleep infinity\n`);
    const bridged = node.start([
      "sh",
      "-c",
      `ip link set ${port} master pods up && ip link set ${port} type bridge_slave state 3`,
    ]);
    await Promise.all([holder.line(START_MS, (line) => line === "ready"), bridged.wait(START_MS)]);
    this.#place = { name: this.name, pid: holder.pid, cgroup: this.#cgroup, mounts: false };
    await inside(this);
  }

  /** Ends every program in it; the sandbox goes with them, the cgroup stays. */
  async stop(): Promise<void> {
    if (this.#place === undefined) return;
    this.#place = undefined;
    writeFileSync(path.join(this.#cgroup, "cgroup.kill"), "1");
    // A namespace lives as long as somebody holds it open; its end of the wire goes with the sandbox.
    await this.#options.node.run(["ip", "link", "del", `pod${this.#options.index}`]);
    await until(`the end of pod ${this.name}`, START_MS, () =>
      readFileSync(path.join(this.#cgroup, "cgroup.procs"), "utf8") === "" ? true : undefined,
    );
  }

  /** Gone for good; the next start is another pod in its place. */
  async replace(): Promise<void> {
    await this.stop();
    rmdirSync(this.#cgroup);
    this.uid = randomUUID();
  }

  #ip(line: string): void {
    const done = spawnSync("ip", ["-batch", "-"], { input: line, encoding: "utf8" });
    if (done.status !== 0) throw new Error(`ip ${line}: ${done.error?.message ?? tail(done.stderr)}`);
  }
}
