// test cluster · the real kubectl, which reads the API server beside whatever is under test.
import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import path from "node:path";
import type { Readable } from "node:stream";

const DEADLINE_MS = 200_000;

export class Kubectl {
  readonly #program: string;
  readonly #kubeconfig: string;

  /** @param kube folder of the built programs (test/peers/kube) */
  constructor(kube: string, kubeconfig: string) {
    this.#program = path.join(kube, "bin/kubectl");
    this.#kubeconfig = kubeconfig;
  }

  /** What it prints, without the last line end. @throws Error with what kubectl says */
  run(words: readonly string[], input = ""): string {
    const argv = ["--kubeconfig", this.#kubeconfig, ...words];
    const options = { input, encoding: "utf8", timeout: DEADLINE_MS, maxBuffer: 64 << 20 } as const;
    const done = spawnSync(this.#program, argv, options);
    if (done.status === 0) return done.stdout.trim();
    throw new Error(`kubectl ${words.join(" ")}: ${done.error?.message ?? done.stderr}`);
  }

  /** As `run`, of a question whose answer is no: `auth can-i` ends with 1 then. @throws Error when it is another */
  denies(words: readonly string[]): string {
    const argv = ["--kubeconfig", this.#kubeconfig, ...words];
    const done = spawnSync(this.#program, argv, { encoding: "utf8", timeout: DEADLINE_MS });
    if (done.status === 1) return done.stdout.trim();
    throw new Error(`kubectl ${words.join(" ")}: ${done.error?.message ?? done.stdout + done.stderr}`);
  }

  /** A path of the API as it is. */
  raw(url: string): string {
    return this.run(["get", "--raw", url]);
  }

  /** As `raw`, of an answer that goes on. The caller ends the process. */
  stream(url: string): ChildProcessByStdio<null, Readable, Readable> {
    const argv = ["--kubeconfig", this.#kubeconfig, "get", "--raw", url];
    return spawn(this.#program, argv, { stdio: ["ignore", "pipe", "pipe"] });
  }
}
