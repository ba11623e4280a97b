// tests · an engine that serves what comes to a port: requests go to origins that the test names, directly or through a tunnel.
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import type { Answer, Forward, Origin, OriginPool } from "../../agent/engine/answers.ts";
import type { EngineEvent, RequestEnded, RequestEvent, TryFailed } from "../../agent/engine/events.ts";
import { CLIENT, pair, refOf } from "./hbone-pair.ts";
import { TestEngine } from "./test-engine.ts";

export type Route = (event: RequestEvent) => Answer | undefined;
export type Served = {
  readonly port: number;
  readonly engine: TestEngine;
  readonly errors: () => unknown[];
  /** Defines its origins anew. */
  readonly define: () => void;
} & Disposable;
export type Way = "direct" | "tunnel";
export const ways: readonly Way[] = ["direct", "tunnel"];

export const to = (event: RequestEvent, origin: number, more: Partial<Forward> = {}): Answer => ({
  ...{ ...refOf(event), type: "forward", request: event.request, target: "", origin },
  ...more,
});

/**
 * Pod 1 is served at `port`; origin n goes to `appPorts[n - 1]`. Of a tunnel the far engine dials what the authority names, as a far node
 * dials what its pod is asked for.
 */
export function serves(
  way: Way,
  appPorts: readonly number[],
  route: Route = (event) => to(event, 1),
  failed: (event: TryFailed) => Answer | undefined = () => undefined,
  pool?: OriginPool,
): Served {
  const near = (event: EngineEvent): Answer | undefined => {
    if (event.type === "accepted") return { ...refOf(event), type: "serve" };
    if (event.type === "try-failed") return failed(event);
    return event.type === "request" ? route(event) : undefined;
  };
  if (way === "direct") {
    const engine = new TestEngine(near);
    engine.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
    const anew = (): void =>
      define(engine, appPorts, pool, (port) => ({ type: "relay", to: { address: "127.0.0.1", port } }));
    anew();
    const port = engine.listen(1, "outbound");
    return {
      port,
      engine,
      errors: () => engine.errors,
      define: anew,
      [Symbol.dispose]: () => engine[Symbol.dispose](),
    };
  }
  const far = (event: EngineEvent): Answer | undefined => {
    if (event.type !== "connect-request") return undefined;
    const dialled = { address: "127.0.0.1", port: Number(event.authority.split(":")[1]) };
    return { ...refOf(event), type: "dial", podIdx: 2, to: dialled, from: null, baggage: "" };
  };
  const both = pair(1, { client: near, server: far });
  const { hbonePort } = both;
  const anew = (): void =>
    define(both.client, appPorts, pool, (port) => ({
      ...{ type: "tunnel", to: { address: "127.0.0.1", port: hbonePort }, identity: CLIENT, expect: 1 },
      ...{ authority: `127.0.0.1:${port}`, baggage: "", forwarded: "" },
    }));
  anew();
  const errors = (): unknown[] => [...both.client.errors, ...both.server.errors];
  return { port: both.port, engine: both.client, errors, define: anew, [Symbol.dispose]: () => both[Symbol.dispose]() };
}

function define(
  engine: TestEngine,
  ports: readonly number[],
  pool: OriginPool | undefined,
  route: (port: number) => Origin["route"],
): void {
  for (const [index, port] of ports.entries())
    engine.engine.defineOrigin({ origin: index + 1, podIdx: 1, route: route(port), ...(pool && { pool }) });
}

export const endedOf = ({ engine }: Served): RequestEnded[] =>
  engine.events.filter((event) => event.type === "request-ended");

export type Heard = { readonly status: number; readonly headers: http.IncomingHttpHeaders; readonly body: string };

/** Rejects when the connection ends before a whole response. */
export async function ask(port: number, options: http.RequestOptions = {}, body: string | Buffer = ""): Promise<Heard> {
  const request = http.request({ host: "127.0.0.1", port, ...options });
  const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
  // A reset behind the head is the response's to say.
  request.on("error", () => {});
  request.end(body);
  const [response] = await answered;
  let text = "";
  for await (const part of response.setEncoding("latin1")) text += part;
  return { status: response.statusCode ?? 0, headers: response.headers, body: text };
}

/** What comes back on a connection until it has been quiet for `quietMs`, or has ended. */
export async function raw(port: number, text: string, until: RegExp): Promise<{ socket: net.Socket; said: string }> {
  const socket = net.connect({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  socket.write(text, "latin1");
  return { socket, said: await saidUntil(socket, until) };
}

export function saidUntil(socket: net.Socket, until: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const heard = (part: Buffer): void => {
      said += part.toString("latin1");
      if (until.test(said)) done(() => resolve(said));
    };
    const ended = (): void => done(() => reject(new Error(`ended behind ${JSON.stringify(said)}`)));
    const done = (then: () => void): void => {
      socket.off("data", heard).off("end", ended).off("error", ended);
      then();
    };
    socket.on("data", heard).on("end", ended).on("error", ended);
  });
}

/** An application's handler that notes the port of the caller of each request; requests of one connection have the same. */
export const callersOf = (handler: http.RequestListener = (_, response) => response.end("ok")) => {
  const callers: number[] = [];
  const listener: http.RequestListener = (request, response) => {
    callers.push(request.socket.remotePort ?? 0);
    handler(request, response);
  };
  return { callers, listener };
};
