// test support · what journeys do on a mesh that runs: start servers in pods, write another mesh, ask the CLI, wait for a request's record.
import assert from "node:assert/strict";
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type AccessEntry, accessLog, until, view } from "../../demo/mesh/mesh-run.ts";
import type { Cluster, Host, Node } from "../box/cluster.ts";
import { type Running, tail } from "../box/process.ts";

const START_MS = 60_000;

/** A program beside this file, by its name. */
export const supportProgram = (name: string): string => fileURLToPath(new URL(`./${name}.ts`, import.meta.url));

/** Starts a program of Node in the host; resolves when it says that it listens. */
export async function serve(host: Host, program: string, ...args: readonly (string | number)[]): Promise<Running> {
  const app = host.start([process.execPath, program, ...args.map(String)]);
  await app.line(START_MS, (line) => line === "listening");
  return app;
}

/**
 * Resolves when the node's data threads have taken over the mesh that its main thread has applied, which is some milliseconds later: what
 * connections they have, they answer behind it (agent/threads/thread-outbox.ts).
 */
export async function threadsFollow(node: Node): Promise<void> {
  await view(node, "connections");
}

/** Writes the mesh file of all nodes; resolves when it is in force on each of them. */
export async function rewriteMesh(cluster: Cluster, text: string): Promise<void> {
  const applied = (): Promise<readonly string[]> =>
    Promise.all(cluster.nodes.map(async (node) => (await view(node, "status")).source.appliedAt));
  const before = await applied();
  cluster.writeMesh(text);
  await until("the new mesh", 20_000, async () =>
    (await applied()).every((at, index) => at !== before[index]) ? true : undefined,
  );
  await Promise.all(cluster.nodes.map(threadsFollow));
}

/** Goes on writing comments to a file of the mesh, so that it is not still, until the result is called. */
export function keepWriting(file: number): () => void {
  const writing = setInterval(() => writeSync(file, "# more\n"), 250);
  return () => clearInterval(writing);
}

/** What `orlop` prints on the node, asked of the node's agent. Throws where it fails. */
export async function orlopOn(node: Node, ...words: readonly string[]): Promise<string> {
  const running = node.orlop([...words, "--socket", `${node.runDir}/agent.sock`]);
  running.endInput();
  const done = await running.wait(30_000);
  assert.equal(done.status, 0, tail(done.stderr));
  return done.stdout;
}

/** Waits for a line of the node's access log about a request to this path, and for more that is asked of it. */
export function requestRecord(node: Node, path: string, wanted: Partial<AccessEntry> = {}): Promise<AccessEntry> {
  const all = Object.entries({ message: "request complete", path, ...wanted });
  return until(`a record of ${path}`, 10_000, () =>
    accessLog(node).find((entry) => all.every(([key, value]) => entry[key] === value)),
  );
}

/** Holds the node's serving agent by SIGSTOP during what follows: the keeper and the kernel take it for dead, and it goes on afterwards. */
export async function whileAgentHangs(node: Node, during: () => Promise<void>): Promise<void> {
  const agent = Number(readFileSync(join(node.runDir, "agent.pid"), "utf8"));
  process.kill(agent, "SIGSTOP");
  try {
    await during();
  } finally {
    process.kill(agent, "SIGCONT");
  }
}

/** A program in a host that takes requests as lines of JSON, and says in lines of JSON what it has heard. */
export class LineCaller<Asked, Heard> {
  readonly #running: Running;

  constructor(from: Host, program: string, ...args: readonly (string | number)[]) {
    this.#running = from.start([process.execPath, program, ...args.map(String)]);
  }

  ask(asked: Asked): Promise<Heard> {
    this.#running.write(`${JSON.stringify(asked)}\n`);
    return this.heard();
  }

  async heard(): Promise<Heard> {
    return JSON.parse(await this.#running.line(20_000, (line) => line.startsWith("{"))) as Heard;
  }

  /** It ends in order, as soon as it has read the end of its input. */
  end(): void {
    this.#running.endInput();
  }

  kill(): void {
    this.#running.kill("SIGKILL");
  }
}
