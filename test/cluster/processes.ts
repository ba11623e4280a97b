// test cluster · starts the cluster's programs in its cgroups and namespaces. They outlive the command that started them.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tail } from "../box/process.ts";
import { type ClusterPlan, logOf } from "./plan.ts";
import { enterArgv, type Hierarchy, joinScript } from "./scripts.ts";

export type Started = {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  readonly log: string;
};

type Where = { readonly part: string; readonly namespaceOf?: Started; readonly mounts?: boolean };

/** Starts and finds the programs of one cluster. */
export class Programs {
  readonly #plan: ClusterPlan;
  readonly #hierarchies: readonly Hierarchy[];
  readonly #started: Started[] = [];

  constructor(plan: ClusterPlan, hierarchies: readonly Hierarchy[]) {
    this.#plan = plan;
    this.#hierarchies = hierarchies;
  }

  /** Output goes to the program's log. `descriptor` becomes its descriptor 3. */
  start(name: string, where: Where, argv: readonly string[], descriptor?: number): Started {
    const log = logOf(this.#plan, name);
    mkdirSync(path.dirname(log), { recursive: true });
    const out = openSync(log, "a", 0o600);
    const [shell = "", ...words] = this.#argv(where, argv);
    const stdio = ["ignore", out, out, ...(descriptor === undefined ? [] : [descriptor])] as const;
    const child = spawn(shell, words, { detached: true, cwd: "/", stdio: [...stdio] });
    closeSync(out);
    child.unref();
    const started = { name, pid: child.pid ?? 0, child, log };
    child.once("error", () => {}); // No pid then; `failed` says so.
    this.#started.push(started);
    return started;
  }

  /** Runs to the end. @throws Error with what it says when it fails or is not through after `deadlineMs` */
  run(where: Where, argv: readonly string[], deadlineMs: number): string {
    const [shell = "", ...words] = this.#argv(where, argv);
    const done = spawnSync(shell, words, { encoding: "utf8", timeout: deadlineMs, cwd: "/" });
    if (done.status === 0) return done.stdout;
    throw new Error(`${argv.slice(0, 4).join(" ")}: ${done.error?.message ?? tail(done.stderr + done.stdout)}`);
  }

  /** Asks again until the answer is true. @throws Error at the deadline, or when a program has ended */
  async until(what: string, deadlineMs: number, asked: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (!(await asked())) {
      const dead = this.#started.find(
        ({ child, pid }) => pid === 0 || child.exitCode !== null || child.signalCode !== null,
      );
      if (dead !== undefined) throw new Error(`${dead.name} ended:\n${tail(readFileSync(dead.log, "utf8"), 2_000)}`);
      if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs / 1_000} s`);
      await sleep(50);
    }
  }

  /** The shell joins the cgroups before it becomes the program, so every child and socket is born there. */
  #argv({ part, namespaceOf, mounts = false }: Where, argv: readonly string[]): readonly string[] {
    const enter = namespaceOf === undefined ? [] : enterArgv(namespaceOf.pid, mounts);
    return ["sh", "-c", joinScript(this.#hierarchies, this.#plan, part), "join", ...enter, ...argv];
  }
}
