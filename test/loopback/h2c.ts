// tests · an application and callers that speak HTTP/2 without TLS: node:http2.
import { once } from "node:events";
import http2 from "node:http2";
import { closedAtEnd } from "./support.ts";

export type H2cApplication = { readonly port: number; readonly sessions: http2.ServerHttp2Session[] };
export type OnStream = (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;

/** On loopback, closed at the end of the file. */
export async function h2cApplication(onStream: OnStream, settings: http2.Settings = {}): Promise<H2cApplication> {
  const server = http2.createServer({ settings, maxSessionMemory: 1_000 });
  const sessions: http2.ServerHttp2Session[] = [];
  server.on("session", (session) => sessions.push(session));
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    onStream(stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return closedAtEnd({
    port: address.port,
    sessions,
    close() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  });
}

export type H2cCaller = Disposable & { readonly session: http2.ClientHttp2Session };

export function h2cCaller(port: number, options: http2.ClientSessionOptions = {}): H2cCaller {
  const session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1_000, ...options });
  session.on("error", () => {});
  return { session, [Symbol.dispose]: () => session.destroy() };
}

export type H2cResponse = {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: http2.IncomingHttpHeaders;
  /** Of the stream's end; 0: in order. */
  readonly code: number;
  /** HEADERS carried END_STREAM. */
  readonly isHeadAlone: boolean;
};

export type H2cRequest = {
  readonly headers: http2.OutgoingHttpHeaders;
  readonly body?: readonly Buffer[];
  readonly trailers?: http2.OutgoingHttpHeaders;
};

export async function ask(session: http2.ClientHttp2Session, request: H2cRequest): Promise<H2cResponse> {
  const { headers, body = [], trailers } = request;
  const endStream = body.length === 0 && trailers === undefined;
  const stream = session.request(headers, { endStream, waitForTrailers: trailers !== undefined });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers ?? {}));
  const got = response(stream);
  for (const part of body) stream.write(part);
  stream.end();
  return got;
}

/** The whole of it, whatever its end. */
export async function response(stream: http2.ClientHttp2Stream): Promise<H2cResponse> {
  let headers: http2.IncomingHttpHeaders = {};
  let trailers: http2.IncomingHttpHeaders = {};
  let isHeadAlone = false;
  const chunks: Buffer[] = [];
  stream.on("response", (came, flags) => {
    headers = came;
    isHeadAlone = (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  });
  stream.on("trailers", (came) => {
    trailers = came;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", () => {});
  await new Promise((closed) => stream.on("close", closed));
  const status = Number(headers[":status"] ?? 0);
  return {
    status,
    headers: Object.fromEntries(Object.entries(headers)),
    body: Buffer.concat(chunks),
    trailers,
    code: stream.rstCode ?? 0,
    isHeadAlone,
  };
}
