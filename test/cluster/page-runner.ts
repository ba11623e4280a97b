// test cluster · runs the commands of a page as an operator would, in one folder and with the page's variables.
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { isExpected, isQuestion, type Step } from "./page.ts";

/** Until a question is answered as the page says: what was asked for may take its time on a busy machine. */
const PATIENCE_MS = 90_000;
const COMMAND_MS = 200_000;

export class PageRunner {
  readonly #cwd: string;
  readonly #env: NodeJS.ProcessEnv;
  /** Commands such as `api=$(…)`, which later commands need. */
  #variables = "";

  constructor(cwd: string, env: NodeJS.ProcessEnv) {
    this.#cwd = cwd;
    this.#env = env;
  }

  /** @throws Error with what a command says when it fails, or does not print what the page says */
  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) {
      const end = performance.now() + PATIENCE_MS;
      while (!this.#isDone(step, performance.now() > end || !isQuestion(step))) await sleep(200);
      if (/^\w+=/.test(step.command)) this.#variables += `${step.command}\n`;
    }
  }

  #isDone(step: Step, isLast: boolean): boolean {
    const options = { cwd: this.#cwd, env: this.#env, encoding: "utf8", timeout: COMMAND_MS } as const;
    const done = spawnSync("bash", ["-c", `set -o pipefail\n${this.#variables}${step.command}`], options);
    if (done.status === 0 && isExpected(done.stdout, step)) return true;
    if (!isLast) return false;
    const said = `${done.stdout}${done.stderr}`.trimEnd();
    const status = done.error?.message ?? `status ${done.status}`;
    throw new Error(
      `line ${step.line}: $ ${step.command}\n${said}\n${status}; the page says:\n${step.expected.join("\n")}`,
    );
  }
}
