// demo · the demo's application, driven from outside: one typed function per role.
import { fileURLToPath } from "node:url";
import type { Host } from "../../test/box/cluster.ts";
import { type Running, tail } from "../../test/box/process.ts";
import { grpcPort, httpPort } from "../mesh/mesh-file.ts";
import type { CallResult, ChurnResult, GreetResult, PingEvent, Target, TransferResult } from "./client.ts";

const app = fileURLToPath(new URL("./app.ts", import.meta.url));
const httpApp = fileURLToPath(new URL("./http-app.ts", import.meta.url));
const grpcApp = fileURLToPath(new URL("../../test/support/grpc-app.ts", import.meta.url));
const argv = (...args: readonly (string | number)[]): string[] => [process.execPath, app, ...args.map(String)];
const START_MS = 60_000;
/** Each of the parallel callers rests this long, so that the load leaves the processor room for the agents. */
const CHURN_PAUSE_MS = 2;

/** Starts the servers of a pod (ports: server.ts) and waits until they listen. */
export async function startServers(host: Host): Promise<Running> {
  const server = host.start(argv("serve", host.name));
  await server.line(START_MS, (line) => line === "serving");
  return server;
}

/** Starts the pod's servers of HTTP and of gRPC and waits until they listen. */
export async function startHttp(host: Host): Promise<readonly Running[]> {
  const servers = [
    host.start([process.execPath, httpApp, String(httpPort), host.name]),
    host.start([process.execPath, grpcApp, String(grpcPort), host.name]),
  ];
  for (const server of servers) await server.line(START_MS, (line) => line === "listening");
  return servers;
}

async function answer<T>(host: Host, deadlineMs: number, ...args: readonly (string | number)[]): Promise<T> {
  const done = await host.run(argv(...args), deadlineMs);
  if (done.status !== 0) throw new Error(`${host.name}: ${args[0]} ended with ${done.status}: ${tail(done.stderr)}`);
  return JSON.parse(done.stdout) as T;
}

/** One connection, one line, one answer. A failed call is a result, not an exception. */
export const call = (from: Host, to: Target, said = "hello"): Promise<CallResult> =>
  answer(from, START_MS, "call", to.host, to.port, said);
export const greet = (from: Host, to: Target): Promise<GreetResult> =>
  answer(from, START_MS, "greet", to.host, to.port);
export const transfer = (from: Host, to: Target, bytes: number, serverDelayMs = 0): Promise<TransferResult> =>
  answer(from, 130_000, "transfer", to.host, to.port, bytes, serverDelayMs);

export type Churn = { finish(): Promise<ChurnResult> };

/** Connections opened and closed without pause until `finish`; each says `said`. */
export function startChurn(from: Host, to: Target, parallel: number, said: string): Churn {
  const running = from.start(argv("churn", to.host, to.port, parallel, CHURN_PAUSE_MS, said));
  return {
    finish: async () => {
      running.endInput();
      const done = await running.wait(START_MS);
      if (done.status !== 0) throw new Error(`churn in ${from.name} ended with ${done.status}: ${tail(done.stderr)}`);
      return JSON.parse(done.stdout) as ChurnResult;
    },
  };
}

export type Pinger = {
  /** The connection's end: how, and when (milliseconds since the epoch). Throws when it still lives at the deadline. */
  dead(deadlineMs: number): Promise<PingEvent & { event: "dead" }>;
  /** Ends it and returns its count. Throws when the connection had died before. */
  finish(): Promise<PingEvent & { event: "summary" }>;
};

/** A connection that stays open with a line every `intervalMs`; resolves once the first answer has come. */
export async function startPing(from: Host, to: Target, intervalMs: number, said = "ping"): Promise<Pinger> {
  const running = from.start(argv("ping", to.host, to.port, intervalMs, said));
  const next = async (deadlineMs: number): Promise<PingEvent> =>
    JSON.parse(await running.line(deadlineMs)) as PingEvent;
  const first = await next(START_MS);
  if (first.event !== "up")
    throw new Error(`${from.name}: the long-lived connection did not come up: ${JSON.stringify(first)}`);
  return {
    dead: async (deadlineMs) => {
      const event = await next(deadlineMs);
      if (event.event !== "dead") throw new Error(`expected the connection to die, got ${JSON.stringify(event)}`);
      return event;
    },
    finish: async () => {
      running.endInput();
      const event = await next(START_MS);
      await running.wait(START_MS);
      if (event.event !== "summary") throw new Error(`the long-lived connection died: ${JSON.stringify(event)}`);
      return event;
    },
  };
}
