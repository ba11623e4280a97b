// main thread · 15021 readiness as named tasks, 15020 metrics: two small servers that only answer GET and hold nothing.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { LatestCallers } from "./latest-callers.ts";
import { SharedPage } from "./shared-page.ts";

/** What must be done before the agent is ready. A task may come undone. */
export class Readiness {
  readonly #pending: Set<string>;

  constructor(tasks: readonly string[]) {
    this.#pending = new Set(tasks);
  }

  done(task: string): void {
    this.#pending.delete(task);
  }

  undone(task: string): void {
    this.#pending.add(task);
  }

  get pending(): readonly string[] {
    return [...this.#pending].toSorted();
  }
}

export type PlainReply = {
  readonly status: number;
  readonly type: string;
  readonly text: string | Buffer;
  /** Called once, when the caller has the reply or has gone. */
  readonly done?: () => void;
};
export type PlainServer = { readonly port: number; readonly close: () => Promise<void> };
export type Warn = (message: string, fields: Readonly<Record<string, unknown>>) => void;
export type ListenAt = { readonly host: string; readonly port: number };

const plain = "text/plain; charset=utf-8";

/** GET /healthz/ready: 200 "ready", or 500 with what is missing (docs/reference/hbone.md#readiness). */
export function startReadyServer(at: ListenAt, readiness: Readiness, warn: Warn): Promise<PlainServer> {
  return startPlainServer(at, warn, {
    "/healthz/ready": async () => {
      const { pending } = readiness;
      return pending.length === 0
        ? { status: 200, type: plain, text: "ready\n" }
        : { status: 500, type: plain, text: `not ready, pending: ${pending.join(", ")}\n` };
    },
  });
}

export type MetricsPage = { readonly contentType: string; readonly text: () => Promise<string> };

/** Connections at once. */
const MOST_CALLERS = 64;
/** For a caller to take its reply. */
const REPLY_MS = 10_000;
/** A page that grew past this is refused: a scrape must not eat the heap. */
const maxPageBytes = 32 * 1024 * 1024;

/** GET /metrics and /stats/prometheus. Scrapes that come together share one page. @param now milliseconds that only grow */
export function startMetricsServer(
  at: ListenAt,
  page: MetricsPage,
  warn: Warn,
  now = (): number => performance.now(),
): Promise<PlainServer> {
  const shared = new SharedPage(() => page.text(), now);
  const scrape = async (): Promise<PlainReply> => {
    const { bytes, done } = await shared.take();
    if (bytes.length <= maxPageBytes) return { status: 200, type: page.contentType, text: bytes, done };
    done();
    return { status: 500, type: plain, text: "the page is too large\n" };
  };
  return startPlainServer(at, warn, { "/metrics": scrape, "/stats/prometheus": scrape });
}

async function startPlainServer(
  at: ListenAt,
  warn: Warn,
  routes: Readonly<Record<string, () => Promise<PlainReply>>>,
): Promise<PlainServer> {
  const known = new Map(Object.entries(routes));
  const server = createServer(
    {
      maxHeaderSize: 8_192,
      headersTimeout: 3_000,
      requestTimeout: 3_000,
      connectionsCheckingInterval: 500,
      keepAliveTimeout: 5_000,
    },
    (request, response) => {
      const send = (reply: PlainReply, more: Readonly<Record<string, string>> = {}): void => {
        // The caller has gone while the reply was made.
        if (response.destroyed) {
          reply.done?.();
          return;
        }
        const late = setTimeout(() => response.destroy(), REPLY_MS).unref();
        response.once("close", () => {
          clearTimeout(late);
          reply.done?.();
        });
        response.writeHead(reply.status, { "content-type": reply.type, "cache-control": "no-store", ...more });
        response.end(reply.text);
      };
      // Nothing that is sent is read: a body ends the connection.
      const close = { connection: "close" };
      const route = known.get((request.url ?? "").split("?", 1)[0] ?? "");
      if (request.method !== "GET")
        return send({ status: 405, type: plain, text: "GET only\n" }, { allow: "GET", ...close });
      if (!route) return send({ status: 404, type: plain, text: "not found\n" }, close);
      route().then(
        (reply) => send(reply),
        (error: unknown) => {
          warn("a plain request failed", { error });
          send({ status: 500, type: plain, text: "failed\n" }, close);
        },
      );
    },
  );
  const callers = new LatestCallers(MOST_CALLERS);
  server.on("connection", (socket) => callers.admit(socket));
  server.setTimeout(10_000, (socket) => socket.destroy());
  server.on("clientError", (_error, socket) => socket.destroy());
  await listenTcp(server, at);
  return {
    port: portOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listenTcp(server: Server, at: ListenAt): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: at.host, port: at.port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
