// demo · a mesh running on a cluster in a box: `orlop run` on each node, asked by its own doors and logs.
import { existsSync, readFileSync } from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ViewName, Views } from "../../agent/admin/api.ts";
import type { Cluster, Node } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";

const POLL_MS = 25;

/** Asks until there is an answer. Throws at the deadline with what was waited for. */
export async function until<T>(
  what: string,
  deadlineMs: number,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(`${what}: not within ${deadlineMs} ms${last instanceof Error ? ` (${last.message})` : ""}`);
    }
    await sleep(POLL_MS);
  }
}

/** Starts `orlop run` on each node. Resolves when all are ready; throws with the end of their output when one is not. */
export async function startMesh(cluster: Cluster, deadlineMs = 90_000): Promise<ReadonlyMap<string, Running>> {
  const programs = new Map(cluster.nodes.map((node) => [node.name, node.orlop(["run", "-c", node.configFile])]));
  const ready = async (node: Node): Promise<void> => {
    const program = programs.get(node.name);
    let said = "";
    try {
      await until(`readiness of ${node.name}`, deadlineMs, async () => {
        if (program?.running === false) return true;
        said = await readiness(node);
        return said === "ready" ? true : undefined;
      });
      if (program?.running === false) throw new Error(`orlop run on ${node.name} ended`);
      await until(`every pod of ${node.name} captured`, deadlineMs, async () => {
        const { captured, wanted } = (await view(node, "status")).pods;
        said = `${captured} of ${wanted} pods captured`;
        return captured === wanted ? true : undefined;
      });
    } catch (error) {
      const output = `${tail(program?.stdout ?? "", 1_500)}\n${tail(program?.stderr ?? "", 1_500)}`;
      throw new Error(`${error instanceof Error ? error.message : error}; it says "${said}"\n${output}`);
    }
  };
  await Promise.all(cluster.nodes.map(ready));
  return programs;
}

/** What 15021 says inside the node; empty when nobody answers. */
export async function readiness(node: Node): Promise<string> {
  const ask = 'exec 3<> /dev/tcp/127.0.0.1/15021 && printf "GET /healthz/ready HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3';
  // Without --norc bash takes a socket as its standard input for a remote shell's, and runs ~/.bashrc.
  const done = await node.run(["bash", "--norc", "-c", ask], 20_000);
  return done.stdout.split("\r\n\r\n")[1]?.trim() ?? "";
}

/** A view of the node's agent over its admin socket. */
export function view<Name extends ViewName>(node: Node, name: Name): Promise<Views[Name]> {
  return new Promise((resolve, reject) => {
    const ask = request({ socketPath: path.join(node.runDir, "agent.sock"), path: `/v1/${name}`, timeout: 5_000 });
    ask.on("timeout", () => ask.destroy(new Error(`the agent of ${node.name} does not answer`)));
    ask.on("error", reject);
    ask.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        text += part;
      });
      response.on("end", () => {
        if (response.statusCode === 200) resolve(JSON.parse(text) as Views[Name]);
        else reject(new Error(`the agent of ${node.name} answers ${response.statusCode}: ${tail(text, 200)}`));
      });
    });
    ask.end();
  });
}

/** The pid of the node's agent or keeper process, found among the processes of the node's own cgroup. */
export function pidOf(node: Node, program: "agent" | "keeper"): number | undefined {
  const pids = readFileSync(path.join(node.place.cgroup, "cgroup.procs"), "utf8").trim().split("\n");
  for (const pid of pids) {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const main = words.findIndex((word) => /\/main\.[jt]s$/.test(word));
      if (main >= 0 && words[main + 1] === program) return Number(pid);
    } catch {
      // It ended while we looked.
    }
  }
  return undefined;
}

/** One access-log line: keys as in the log (`src.identity`, `dst.addr`, …), and `message`. */
export type AccessEntry = Readonly<Record<string, string>>;

/** All whole lines of the node's access log so far: the agent may be writing the next. */
export function accessLog(node: Node): AccessEntry[] {
  if (!existsSync(node.accessLog)) return [];
  return readFileSync(node.accessLog, "utf8").split("\n").slice(0, -1).map(readAccessLine);
}

export function readAccessLine(line: string): AccessEntry {
  const [time = "", level = "", , message = "", fields = ""] = line.split("\t");
  const entry: Record<string, string> = { time, level, message };
  for (const [, key = "", quoted, bare] of fields.matchAll(/([a-z_.]+)=(?:("(?:[^"\\]|\\.)*")|([^ ]*))/g)) {
    entry[key] = quoted === undefined ? (bare ?? "") : (JSON.parse(quoted) as string);
  }
  return entry;
}
