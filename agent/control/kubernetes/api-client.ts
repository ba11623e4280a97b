// main thread · asks an API server over one HTTP/2 connection, on which all watches are streams. Connects again at the next question.
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import { isIP } from "node:net";
import { type TLSSocket, connect as tlsConnect } from "node:tls";
import { createGunzip } from "node:zlib";
import { connected, SharedSession } from "../../attempts/shared-session.ts";
import { type ApiAnswer, type AskOptions, ServerLeaves, Silence, writeTypes } from "./api-answer.ts";
import type { ApiServer } from "./credentials.ts";

export type ApiClientOptions = ApiServer & {
  /** A PING is sent so often, and a server that has not answered by the next is away, ms. */
  readonly pingMs?: number;
  /** A server that has sent GOAWAY has so long to finish its answers, ms. */
  readonly leavingMs?: number;
};

const CONNECT_MS = 10_000;

export class ApiClient {
  readonly #options: ApiClientOptions;
  readonly #session = new SharedSession(async () => this.#connect());
  /** Each question without its whole answer, and how long its stream may be silent, ms. */
  readonly #open = new Map<ClientHttp2Stream, number>();

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  async ask(path: string, { signal, idleMs, write }: AskOptions): Promise<ApiAnswer> {
    signal.throwIfAborted();
    const token = this.#options.token();
    const session = await this.#session.get();
    const stream = session.request({
      [constants.HTTP2_HEADER_PATH]: path,
      ...(write && { [constants.HTTP2_HEADER_METHOD]: write.method, "content-type": writeTypes[write.method] }),
      accept: "application/json",
      "accept-encoding": "gzip",
      ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
    });
    // The reader of the body gets the error; without a reader it must not end the process.
    stream.on("error", () => undefined);
    const abort = (): void => void stream.destroy(new Error("aborted"));
    signal.addEventListener("abort", abort, { once: true });
    this.#open.set(stream, idleMs);
    stream.once("close", () => {
      signal.removeEventListener("abort", abort);
      this.#open.delete(stream);
    });
    if (write) stream.end(JSON.stringify(write.object));
    stream.setTimeout(idleMs, () =>
      stream.destroy(session.closed ? new ServerLeaves(LEAVES) : new Silence(`nothing came for ${idleMs} ms`)),
    );
    const headers = await responseOf(stream);
    const contentType = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
    return {
      status: headers[constants.HTTP2_HEADER_STATUS] ?? 0,
      contentType,
      retryAfterMs: secondsOf(headers["retry-after"]),
      body: bodyOf(stream, headers["content-encoding"] === "gzip"),
    };
  }

  close(): void {
    this.#session.close();
  }

  #connect(): Promise<ClientHttp2Session> {
    const { server, ca, client, pingMs = 10_000, leavingMs = 60_000 } = this.#options;
    const { hostname, port } = new URL(server);
    const host = hostname.replace(/^\[|\]$/g, "");
    const socket = tlsConnect({
      ...{ host, port: port === "" ? 443 : Number(port), ...(isIP(host) === 0 && { servername: host }) },
      ...{ ca: ca(), ...client, minVersion: "TLSv1.2", ALPNProtocols: ["h2"] },
    });
    const session = connect(server, { createConnection: () => socket });
    const late = setTimeout(() => session.destroy(new Error(`${server} does not answer`)), CONNECT_MS);
    session.once("close", () => clearTimeout(late));
    session.once("goaway", () => this.#leave(session, 2 * pingMs, leavingMs));
    return connected(session, server, () => {
      clearTimeout(late);
      keepAlive(session, socket, pingMs);
    });
  }

  /**
   * After a GOAWAY Node sends no PING any more (node: lib/internal/http2/core.js, ping). So a stream that is silent for `quietMs` ends: a
   * watch goes on over another connection. An answer that flows has `leavingMs`.
   */
  #leave(session: ClientHttp2Session, quietMs: number, leavingMs: number): void {
    const streams = [...this.#open].filter(([stream]) => stream.session === session);
    for (const [stream, idleMs] of streams) stream.setTimeout(Math.min(idleMs, quietMs));
    const late = setTimeout(() => {
      for (const [stream] of streams) stream.destroy(new ServerLeaves(LEAVES));
      session.destroy();
    }, leavingMs);
    session.once("close", () => clearTimeout(late));
  }
}

const LEAVES = "the server ends its connection (GOAWAY)";

/** A connection of which nothing is heard any more would leave its watches waiting for ever. */
function keepAlive(session: ClientHttp2Session, socket: TLSSocket, everyMs: number): void {
  let isAwaited = false;
  const timer = setInterval(() => {
    if (session.destroyed) {
      // After a GOAWAY Node has only ended its side, and would wait for a server that may be gone.
      socket.destroy();
      return clearInterval(timer);
    }
    // After a GOAWAY `#leave` ends what is silent.
    if (session.closed) return;
    if (isAwaited) return session.destroy(new Error(`no answer to a PING within ${everyMs} ms`));
    isAwaited = true;
    session.ping((error) => {
      isAwaited = error !== null;
    });
  }, everyMs);
  session.once("close", () => clearInterval(timer));
}

function responseOf(
  stream: ClientHttp2Stream,
): Promise<IncomingHttpHeaders & { [constants.HTTP2_HEADER_STATUS]?: number }> {
  return new Promise((resolve, reject) => {
    stream.once("response", resolve);
    stream.once("error", reject);
    stream.once("close", () => reject(new Error("the server ended the stream without an answer")));
  });
}

async function* bodyOf(stream: ClientHttp2Stream, isGzip: boolean): AsyncIterable<Uint8Array> {
  const readable = isGzip ? stream.pipe(createGunzip()) : stream;
  const failed = (error: Error): void => void readable.destroy(error);
  if (isGzip) stream.once("error", failed);
  try {
    for await (const chunk of readable) yield chunk;
  } finally {
    stream.destroy();
  }
  if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) throw new Error(`the server reset the stream: ${stream.rstCode}`);
}

/** A date as the value is passed over: the caller waits as long as it would anyway. */
function secondsOf(value: string | undefined): number | null {
  return value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) * 1_000 : null;
}
