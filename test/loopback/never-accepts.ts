// tests · an application that the kernel lets nobody connect to for now: it has stopped, and its queue of connections is full, so that no SYN is answered.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import type { TestContext } from "node:test";
import { until } from "./until.ts";

export type NeverAccepts = {
  readonly at: { readonly address: string; readonly port: number };
  /** It accepts and answers from now on. A dial from before gets through when its kernel sends its next SYN: some seconds later at most. */
  readonly goOn: () => void;
};

const BACKLOG = 1;

export async function neverAccepts(t: TestContext, address: string): Promise<NeverAccepts> {
  const program = `const server = require("node:http").createServer((_, response) => response.end("ok"));
    server.keepAliveTimeout = 60_000;
    server.listen({ port: 0, host: "${address}", backlog: ${BACKLOG} }, () => {
      console.log(server.address().port);
      process.kill(process.pid, "SIGSTOP");
    });`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const [said] = (await once(child.stdout, "data")) as [Buffer];
  const port = Number(said);
  await until(() => readFileSync(`/proc/${child.pid}/stat`, "latin1").split(") ").at(-1)?.startsWith("T") === true);
  const queued = Array.from({ length: BACKLOG + 3 }, () => net.connect(port, address).on("error", () => undefined));
  t.after(() => {
    for (const socket of queued) socket.destroy();
  });
  await until(() => queueOf(port) > BACKLOG, "a full queue");
  return { at: { address, port }, goOn: () => child.kill("SIGCONT") };
}

/** Connections that wait to be accepted at a listening port (linux:Documentation/networking/proc_net_tcp.rst). */
function queueOf(port: number): number {
  const LISTENS = "0A";
  const at = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  for (const line of readFileSync("/proc/net/tcp", "latin1").split("\n")) {
    const [, local = "", , state, queues = ""] = line.trim().split(/\s+/);
    if (local.endsWith(at) && state === LISTENS) return Number.parseInt(queues.split(":")[1] ?? "0", 16);
  }
  return 0;
}
