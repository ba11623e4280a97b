// tests · an engine that reads what comes to a port, and an application of Node behind it.
import { once } from "node:events";
import http from "node:http";
import type { Answer, HttpReading } from "../../agent/engine/answers.ts";
import type { EngineEvent, RequestEvent } from "../../agent/engine/events.ts";
import { pair, refOf } from "./hbone-pair.ts";
import { closedAtEnd } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

export type Decide = (event: RequestEvent) => Answer | undefined;
export const forward: Decide = (event) => ({ ...refOf(event), type: "forward", request: event.request, target: "" });
const deny: Decide = (event) => ({
  ...refOf(event),
  type: "reply",
  request: event.request,
  status: 403,
  body: "RBAC: access denied",
});
/** What begins with /denied is denied. */
export const byPath: Decide = (event) => (event.target.startsWith("/denied") ? deny(event) : forward(event));

export type Under = { readonly port: number; readonly engine: TestEngine } & Disposable;
export type Way = "plaintext" | "tunnel";
export const ways: readonly Way[] = ["plaintext", "tunnel"];

/** An engine that reads what comes to `port` and goes to `appPort`; in plaintext, or behind a tunnel. */
export function reads(way: Way, appPort: number, decide: Decide = byPath, reading: HttpReading = "or-end"): Under {
  const answer = (event: EngineEvent): Answer | undefined => {
    if (event.type === "request") return decide(event);
    if (event.type !== (way === "tunnel" ? "connect-request" : "accepted")) return undefined;
    const to = { address: "127.0.0.1", port: appPort };
    return { ...refOf(event), type: "dial", podIdx: way === "tunnel" ? 2 : 1, to, from: null, baggage: "", reading };
  };
  if (way === "tunnel") {
    const both = pair(appPort, { server: answer });
    return { port: both.port, engine: both.server, [Symbol.dispose]: () => both[Symbol.dispose]() };
  }
  const engine = new TestEngine(answer);
  engine.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
  return { port: engine.listen(1, "inbound"), engine, [Symbol.dispose]: () => engine[Symbol.dispose]() };
}

/** Node's HTTP server on loopback, closed at the end of the file. */
export async function application(
  handler: http.RequestListener,
  options: http.ServerOptions = {},
): Promise<http.Server & { readonly port: number }> {
  const server = http.createServer({ ...options, connectionsCheckingInterval: 1_000 }, handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  closedAtEnd({
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  });
  return Object.assign(server, { port: address.port });
}
