// test box · a program inside a namespace and a cgroup of a cluster in a box: started, watched, with a deadline.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import path from "node:path";

/** Where a program runs: the namespaces of `pid`, the cgroup at `cgroup`. `mounts` also enters the mount namespace. */
export type Place = { readonly name: string; readonly pid: number; readonly cgroup: string; readonly mounts: boolean };

export type Finished = {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** Output kept of one program, in characters; the middle of a longer one is lost, never its end. */
const KEPT_OUTPUT = 1_000_000;

/** A running program. Its output lines arrive through `line()` in order; `finished` settles once it has ended. */
export class Running {
  readonly name: string;
  readonly pid: number;
  readonly #finished: Promise<Finished>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: string[] = [];
  #partial = "";
  #stdout = "";
  #stderr = "";
  #ended = false;
  #expected = false;
  #crash: string | undefined;
  #wake: () => void = () => {};

  constructor(name: string, child: ChildProcessWithoutNullStreams) {
    this.name = name;
    this.pid = child.pid ?? 0;
    this.#child = child;
    child.stdout.setEncoding("utf8");
    child.stderr.setEncoding("utf8");
    child.stdout.on("data", (text: string) => {
      this.#stdout = keep(this.#stdout + text);
      const parts = (this.#partial + text).split("\n");
      this.#partial = parts.pop() ?? "";
      this.#lines.push(...parts);
      this.#wake();
    });
    child.stderr.on("data", (text: string) => {
      this.#stderr = keep(this.#stderr + text);
    });
    // A program may end without reading its input; `finished` says how it ended.
    child.stdin.on("error", () => {});
    this.#finished = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (status, signal) => {
        this.#ended = true;
        if (status !== 0 && status !== null && !this.#expected) this.#crash = `status ${status}: ${tail(this.#stderr)}`;
        resolve({ status, signal, stdout: this.#stdout, stderr: this.#stderr });
        this.#wake();
      });
    });
    this.#finished.catch(() => this.#wake());
  }

  /** How it ended. A test that asks, or that sends a signal, expects an end. */
  get finished(): Promise<Finished> {
    this.#expected = true;
    return this.#finished;
  }

  /** It ended by itself, with a status other than 0 and before anybody asked how: its status and its last words. */
  get crash(): string | undefined {
    return this.#expected ? undefined : this.#crash;
  }

  get running(): boolean {
    return !this.#ended;
  }

  /** What it wrote so far. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** The next line of output that `wanted` accepts; earlier ones are passed over. Throws at the deadline or at the end. */
  async line(deadlineMs: number, wanted: (line: string) => boolean = () => true): Promise<string> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        if (wanted(line)) return line;
      }
      const left = end - performance.now();
      if (this.#ended || left <= 0) {
        const why = this.#ended ? "ended" : `said nothing for ${deadlineMs} ms`;
        throw new Error(`${this.name} ${why}, a line was expected${this.#stderr && `: ${tail(this.#stderr)}`}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  write(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Closes its input: the applications of the demo finish and report then. */
  endInput(): void {
    this.#child.stdin.end();
  }

  kill(signal: NodeJS.Signals = "SIGTERM"): void {
    if (this.#ended) return;
    this.#expected = true;
    this.#child.kill(signal);
  }

  /** Waits for its end; after `deadlineMs` it is killed and this throws. */
  async wait(deadlineMs: number): Promise<Finished> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(resolve, deadlineMs, undefined);
    });
    const done = await Promise.race([this.finished, late]);
    clearTimeout(timer);
    if (done !== undefined) return done;
    this.kill("SIGKILL");
    await this.finished;
    throw new Error(`${this.name} did not end within ${deadlineMs} ms${this.#stderr && `: ${tail(this.#stderr)}`}`);
  }

  /** Asks it to end, and after `deadlineMs` makes it. */
  async stop(deadlineMs = 2_000): Promise<Finished> {
    this.kill("SIGTERM");
    const timer = setTimeout(() => this.kill("SIGKILL"), deadlineMs);
    const done = await this.finished;
    clearTimeout(timer);
    return done;
  }
}

function keep(text: string): string {
  return text.length <= KEPT_OUTPUT ? text : `${text.slice(0, 1000)}\n…\n${text.slice(-KEPT_OUTPUT / 2)}`;
}

export function tail(text: string, characters = 600): string {
  return text.trim().slice(-characters);
}

/** Dies with this process, also by kill -9; in its own session, so that Ctrl-C reaches only us and we clean up. */
function spawnTied(name: string, argv: readonly string[], env?: NodeJS.ProcessEnv): Running {
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...argv], {
    detached: true,
    cwd: "/",
    env: env ?? process.env,
  });
  return new Running(name, child);
}

/** A new network namespace (and mount namespace) held by a shell in `cgroup`; the shell runs what is written to it. */
export function startNamespace(name: string, cgroup: string, mounts: boolean): Running {
  const holder = spawnTied(name, ["unshare", "--net", ...(mounts ? ["--mount"] : []), "sh", "-s"]);
  holder.write(`set -e\necho $$ > '${path.join(cgroup, "cgroup.procs")}'\necho up\n`);
  return holder;
}

/** Starts `argv` at a place. It joins the cgroup before exec, so every socket it ever makes is born there. */
export function startAt(place: Place, argv: readonly string[], options: { env?: NodeJS.ProcessEnv } = {}): Running {
  const enter = ["nsenter", "--target", String(place.pid), "--net", ...(place.mounts ? ["--mount"] : []), "--"];
  const script = 'echo $$ > "$0" && exec "$@"';
  const procs = path.join(place.cgroup, "cgroup.procs");
  const label = `${place.name}: ${path.basename(argv[0] ?? "")} ${argv.slice(1).join(" ")}`;
  return spawnTied(label.slice(0, 200), ["sh", "-c", script, procs, ...enter, ...argv], options.env);
}
