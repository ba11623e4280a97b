// main thread · asks a gRPC server one question after another over HTTP/2 and TLS 1.3. Whatever goes wrong ends the connection, and the
// next question makes another; an idle connection ends by itself. Answers are bounded in bytes and in time.
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";
import { connected, SharedSession } from "../attempts/shared-session.ts";
import { frameGrpcMessage, type GrpcCode, grpcCodeOf, onlyGrpcMessage, readGrpcText } from "./grpc-message.ts";
import { orAborted, reasonOf } from "./or-aborted.ts";

export type GrpcClientOptions = {
  /** `https://host:port`; the server's certificate must be of this host. */
  readonly address: string;
  /** PEM of the roots that the server's certificate may chain to. Read for each connection. @throws the file system's errors */
  readonly roots: () => string;
  /** A connection without a question ends after so long, ms. */
  readonly idleMs?: number;
};

export type GrpcQuestion = {
  readonly path: string;
  readonly message: Uint8Array;
  /** Names in lower case. They leave only on a connection whose server has proved itself. */
  readonly headers: Readonly<Record<string, string>>;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
};

/** The server answered, and it is no success. */
export class GrpcRefusal extends Error {
  readonly code: GrpcCode;

  constructor(code: GrpcCode, text: string) {
    super(`${code}${text === "" ? "" : `: ${text}`}`);
    this.code = code;
  }
}

/** A chain of three certificates is 3 kB; istiod's bundles of several roots have tens. */
const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;

export class GrpcClient {
  readonly #options: GrpcClientOptions;
  readonly #session = new SharedSession(async () => this.#connect());
  #closed = false;

  constructor(options: GrpcClientOptions) {
    this.#options = options;
  }

  /** @throws GrpcRefusal when the server refuses; Error when nothing answers, or something that is no gRPC */
  async ask(question: GrpcQuestion): Promise<Uint8Array> {
    const { deadlineMs, signal } = question;
    const timeout = AbortSignal.timeout(deadlineMs);
    const ends = AbortSignal.any([signal, timeout]);
    const late = (): Error =>
      timeout.aborted ? new Error(`${this.#options.address} gave no answer in ${deadlineMs} ms`) : reasonOf(signal);
    if (this.#closed) throw new Error("the client is closed");
    const used = this.#session.get();
    try {
      const session = await orAborted(used, ends);
      return await orAborted(answerOf(session, question), ends);
    } catch (error) {
      // The connection may be the reason, unless the server has answered or the caller has given up: the next question makes another.
      if (!(error instanceof GrpcRefusal) && !signal.aborted) this.#session.end(used);
      throw ends.aborted ? late() : error;
    }
  }

  close(): void {
    this.#closed = true;
    this.#session.close();
  }

  #connect(): Promise<ClientHttp2Session> {
    const { address, roots, idleMs = 30_000 } = this.#options;
    const settings = { enablePush: false, maxHeaderListSize: MAX_HEADER_BYTES };
    const session = connect(address, { ca: roots(), minVersion: "TLSv1.3", settings });
    // Before it is connected too: a server that says nothing has its time.
    session.setTimeout(idleMs, () => session.destroy());
    // A program that has nothing else to do may end.
    session.unref();
    return connected(session, address, ({ alpnProtocol }) => {
      if (alpnProtocol !== "h2") throw new Error(`${address} speaks no HTTP/2`);
    });
  }
}

function answerOf(session: ClientHttp2Session, question: GrpcQuestion): Promise<Uint8Array> {
  const { path, message, headers, deadlineMs, signal } = question;
  const stream = session.request({
    ...headers,
    [constants.HTTP2_HEADER_METHOD]: "POST",
    [constants.HTTP2_HEADER_PATH]: path,
    "content-type": "application/grpc",
    te: "trailers",
    "grpc-timeout": `${deadlineMs}m`,
  });
  const abort = (): void => stream.close(constants.NGHTTP2_CANCEL);
  signal.addEventListener("abort", abort, { once: true });
  stream.once("close", () => signal.removeEventListener("abort", abort));
  stream.end(frameGrpcMessage(message));
  return readAnswer(stream).catch((error: unknown) => {
    stream.close(constants.NGHTTP2_CANCEL);
    throw error;
  });
}

function readAnswer(stream: ClientHttp2Stream): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    let head: IncomingHttpHeaders | undefined;
    let trailers: IncomingHttpHeaders = {};
    stream.on("response", (headers) => {
      head = headers;
    });
    stream.on("trailers", (headers) => {
      trailers = headers;
    });
    stream.on("data", (chunk: Uint8Array) => {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) return reject(new Error(`an answer of over ${MAX_ANSWER_BYTES} bytes`));
      chunks.push(chunk);
    });
    stream.on("error", reject);
    stream.once("close", () => {
      try {
        resolve(successOf(head, trailers, Buffer.concat(chunks)));
      } catch (error) {
        reject(error);
      }
    });
  });
}

/** @throws GrpcRefusal, and Error when it is no answer of gRPC: a proxy's page, a body without its trailers */
function successOf(head: IncomingHttpHeaders | undefined, trailers: IncomingHttpHeaders, body: Uint8Array): Uint8Array {
  if (head === undefined) throw new Error("the server ended the stream without an answer");
  const { [constants.HTTP2_HEADER_STATUS]: status, "content-type": type = "" } = head;
  if (Number(status) !== 200 || !/^application\/grpc(\+proto)?\s*($|;)/.test(type)) {
    throw new Error(`an answer that is no gRPC: HTTP status ${status}, ${JSON.stringify(type.slice(0, 80))}`);
  }
  // A refusal without a body may have it all in its first headers.
  const said = trailers["grpc-status"] === undefined ? head : trailers;
  const { "grpc-status": code, "grpc-message": text = "" } = said;
  if (code === undefined) throw new Error("an answer that was cut off: it has no grpc-status");
  if (code !== "0") throw new GrpcRefusal(grpcCodeOf(String(code)), readGrpcText(String(text)));
  const message = onlyGrpcMessage(body);
  if (message === undefined) throw new Error("an answer that is not one message of gRPC");
  return message;
}
