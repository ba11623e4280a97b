// main thread · the admin socket: HTTP over a unix socket, each peer known by SO_PEERCRED, one right per verb. There is no
// admin over TCP.
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import { apiVersion, type LogChange, type ViewName, viewNames } from "./api.ts";
import type { AdminSource } from "./source.ts";
import { errorView, view } from "./views.ts";

export type PeerCredentials = { readonly uid: number; readonly pid: number };

export type AdminServerOptions = {
  /** Normally /run/orlop/agent.sock. Its directory is made with mode 0700 when it is missing. */
  readonly path: string;
  readonly source: AdminSource;
  /** SO_PEERCRED of an accepted socket; null: unknown, and then nothing is answered but 403. */
  readonly peerOf: (socket: Socket) => PeerCredentials | null;
  /** The agent's own uid: it may read, as root may; only root may change. */
  readonly ownUid: number;
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void;
};

const maxBodyBytes = 16_384;
const maxHeaderBytes = 16_384;
const maxPeers = 32;
/** A request must be complete, and a reply taken, within these. */
const headersTimeoutMs = 5_000;
const requestTimeoutMs = 10_000;
const idleTimeoutMs = 30_000;

type AdminReply = {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};
type Right = "read" | "write";
type AdminRoute = {
  readonly method: "GET" | "PUT";
  readonly right: Right;
  readonly answer: (query: URLSearchParams, body: string) => Promise<AdminReply>;
};

export type AdminServer = { readonly close: () => Promise<void> };

/** Listens. Rejects when the path is taken by something that is no socket, or the directory cannot be used. */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  prepare(options.path);
  const routes = routesOf(options.source);
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 1_000,
    },
    (request, response) => {
      answer(request, response, routes, options).catch((error: unknown) => {
        if (request.destroyed && !request.complete) return; // The caller left before it had asked.
        options.warn("admin request failed", { error });
        send(response, { status: 500, body: errorView("internal", "the agent failed to answer; its log says why") });
      });
    },
  );
  server.maxConnections = maxPeers;
  server.setTimeout(idleTimeoutMs, (socket) => socket.destroy());
  server.on("clientError", (_error, socket) => {
    // The parser's own words would tell a hostile peer nothing useful; what it sent is not logged either.
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    else socket.destroy();
  });
  await listen(server, options.path);
  chmodSync(options.path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function prepare(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const stale = lstatSync(path, { throwIfNoEntry: false });
  if (stale === undefined) return;
  // Only a socket is ours to remove: an earlier agent that was killed left it behind.
  if (!stale.isSocket()) throw new Error(`${path} exists and is no socket`);
  unlinkSync(path);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, backlog: maxPeers }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: ReadonlyMap<string, readonly AdminRoute[]>,
  options: AdminServerOptions,
): Promise<void> {
  const peer = options.peerOf(request.socket);
  if (!peer || (peer.uid !== 0 && peer.uid !== options.ownUid)) {
    options.warn("admin refused", { uid: peer?.uid ?? null, pid: peer?.pid ?? null });
    return refuse(response, 403, "not-permitted", "only root and the agent's own user may ask");
  }
  if (request.httpVersionMajor !== 1) return refuse(response, 505, "bad-version", "HTTP/1.1 is spoken here");
  // Compared as it was sent: nothing is decoded or normalised, so "/v1/../x" is simply unknown.
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  const known = routes.get(path);
  if (!known) return refuse(response, 404, "not-found", "no such path; see `orlop --help`");
  const route = known.find(({ method }) => method === request.method);
  if (!route) {
    const allow = known.map(({ method }) => method).join(", ");
    return refuse(response, 405, "bad-method", `only ${allow} here`, { allow });
  }
  if (route.right === "write" && peer.uid !== 0) {
    options.warn("admin change refused", { uid: peer.uid, pid: peer.pid, path });
    return refuse(response, 403, "not-permitted", "only root may change anything");
  }
  const body = await readBody(request);
  if (body === undefined) return refuse(response, 413, "too-large", `a body has at most ${maxBodyBytes} bytes`);
  send(response, await route.answer(new URLSearchParams(query), body));
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  // What was not read is not waited for either.
  send(response, { status, body: errorView(code, message), headers: { ...headers, connection: "close" } });
}

function send(response: ServerResponse, reply: AdminReply): void {
  if (response.headersSent || response.destroyed) return;
  const text = `${JSON.stringify(reply.body)}\n`;
  response.writeHead(reply.status, {
    "content-type": "application/json",
    "cache-control": "no-store",
    "content-length": String(Buffer.byteLength(text)),
    ...reply.headers,
  });
  response.end(text);
}

/** undefined: too long. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    bytes += chunk.length;
    if (bytes > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function routesOf(source: AdminSource): ReadonlyMap<string, readonly AdminRoute[]> {
  const read = (answer: (query: URLSearchParams) => Promise<unknown>): AdminRoute => ({
    method: "GET",
    right: "read",
    answer: async (query) => ({ status: 200, body: await answer(query) }),
  });
  const routes = new Map<string, readonly AdminRoute[]>();
  for (const name of viewNames) routes.set(`/v1/${name}`, [read(() => view(name, source))]);
  routes.set("/v1/dump", [read(() => dump(source))]);
  routes.set("/v1/explain", [{ method: "GET", right: "read", answer: (query) => explain(source, query) }]);
  routes.set("/v1/log", [
    read(() => view("log", source)),
    { method: "PUT", right: "write", answer: (_query, body) => setLog(source, body) },
  ]);
  return routes;
}

async function dump(source: AdminSource): Promise<unknown> {
  const views: Partial<Record<ViewName, unknown>> = {};
  for (const name of viewNames) views[name] = await view(name, source);
  return { apiVersion, kind: "Dump", ...views };
}

async function explain(source: AdminSource, query: URLSearchParams): Promise<AdminReply> {
  const src = query.get("src") ?? "";
  const dst = query.get("dst") ?? "";
  if (src === "" || dst === "") return { status: 400, body: errorView("bad-request", "src and dst are needed") };
  const said = (name: string): string | undefined => query.get(name) ?? undefined;
  const asked = { method: said("method"), path: said("path"), host: said("host"), header: query.getAll("header") };
  const answered = await source.explain(src, dst, asked);
  if ("unusable" in answered) return { status: 400, body: errorView("bad-request", answered.unusable) };
  if ("error" in answered) return { status: 404, body: errorView("not-found", answered.error) };
  return { status: 200, body: answered };
}

async function setLog(source: AdminSource, body: string): Promise<AdminReply> {
  const change = parseLogChange(body);
  const wrong = change === undefined ? "the body must be {room, level, forSeconds}" : source.setLog(change);
  if (wrong !== undefined) return { status: 400, body: errorView("bad-request", wrong) };
  return { status: 200, body: await view("log", source) };
}

function parseLogChange(body: string): LogChange | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined; // Said to the caller as "the body must be …".
  }
  if (typeof value !== "object" || value === null) return undefined;
  const field = (name: string): unknown => (Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined);
  const [room, level, forSeconds = null] = [field("room"), field("level"), field("forSeconds")];
  if (typeof room !== "string" || typeof level !== "string") return undefined;
  if (forSeconds === null) return { room, level, forSeconds };
  if (typeof forSeconds !== "number" || !Number.isInteger(forSeconds) || forSeconds < 1 || forSeconds > 86_400)
    return undefined;
  return { room, level, forSeconds };
}
