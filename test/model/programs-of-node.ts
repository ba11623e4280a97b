// test model · `orlop run` of the node under test: started, watched, and its two programs by their pids.
import { readFileSync } from "node:fs";
import path from "node:path";
import { pidOf, until } from "../../demo/mesh/mesh-run.ts";
import { type Node, orlopMain } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";

const END_MS = 30_000;

export class NodePrograms {
  readonly #node: Node;
  /** Of which revision the next ones are: its agent/main.ts. */
  main = orlopMain;
  #run: Running | undefined;
  /** What keeps the namespace of the node. */
  readonly #namespace: ReadonlySet<number>;

  constructor(node: Node) {
    this.#node = node;
    this.#namespace = new Set(this.#pids());
  }

  start(): void {
    this.#run = this.#node.start([process.execPath, this.main, "run", "-c", this.#node.configFile]);
  }

  /** It ended although nobody asked it to: nobody but an operator starts it again. */
  get hasEnded(): boolean {
    return this.#run?.running !== true;
  }

  get output(): string {
    return this.#run?.stderr ?? "";
  }

  pid(program: "agent" | "keeper"): number | undefined {
    return pidOf(this.#node, program);
  }

  /** False: there is none. */
  signal(program: "agent" | "keeper" | "run", signal: NodeJS.Signals): boolean {
    const pid = program === "run" ? this.#run?.pid : this.pid(program);
    if (pid === undefined || (program === "run" && this.hasEnded)) return false;
    try {
      process.kill(pid, signal);
    } catch {
      return false; // It ended just now.
    }
    return true;
  }

  /** As a machine does that kills all of a unit at once. */
  async killAll(): Promise<void> {
    this.#run?.kill("SIGKILL");
    // Its children hold its output open: it counts as finished when they have ended, too.
    await until("the end of both programs", END_MS, () => {
      for (const pid of this.#others()) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended while we looked.
        }
      }
      return this.#others().length === 0 ? true : undefined;
    });
    await this.#run?.finished;
  }

  /** The operator's stop: everything of ours goes. */
  async stop(): Promise<void> {
    await this.#run?.stop(END_MS);
  }

  /** What runs here besides what keeps the node's namespace: also what nobody waits for, and what has not executed its program yet. */
  #others(): readonly number[] {
    return this.#pids().filter((pid) => !this.#namespace.has(pid));
  }

  #pids(): readonly number[] {
    return readFileSync(path.join(this.#node.place.cgroup, "cgroup.procs"), "utf8")
      .split("\n")
      .filter(Boolean)
      .map(Number);
  }
}
