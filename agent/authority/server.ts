// main thread · the authority's server: gRPC over HTTP/2 and TLS 1.3, one method. Everything that comes is bounded before it is read:
// connections, streams, bytes, time, questions of an address. One line in the log for each certificate and each refusal.
import { once } from "node:events";
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import {
  CREATE_CERTIFICATE,
  decodeCertificateRequest,
  encodeCertificateAnswer,
} from "../identity/certificate-messages.ts";
import {
  frameGrpcMessage,
  type GrpcCode,
  grpcCodes,
  onlyGrpcMessage,
  writeGrpcText,
} from "../identity/grpc-message.ts";
import { orAborted } from "../identity/or-aborted.ts";
import type { Logger } from "../observe/log.ts";
import { AddressSlots } from "./address-slots.ts";
import type { AuditFacts, CertificateService } from "./certificate-service.ts";
import { NotIssued } from "./not-issued.ts";
import { RateLimit } from "./rate-limit.ts";

export type AuthorityServerParts = {
  readonly service: Pick<CertificateService, "issue">;
  readonly perAddress: RateLimit;
  readonly monotonicMs: () => number;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Requests that are read and now being checked and signed, of all addresses. */
  readonly concurrency?: number;
};

/** PEM. */
export type ServerKeys = { readonly cert: string; readonly key: Buffer };

const MAX_MESSAGE_BYTES = 16 * 1024;
const MAX_TOKEN_CHARS = 16 * 1024;
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_CONNECTIONS = 2_000;
const MAX_CONNECTIONS_OF_ADDRESS = 64;
/** An agent asks for eight certificates at once. */
const MAX_STREAMS = 16;
const HANDSHAKE_MS = 5_000;
/** Requests that an address has open at once; of these, requests that are being checked and signed. */
const MAX_OPEN_OF_ADDRESS = 32;
const MAX_ISSUING_OF_ADDRESS = 16;
/** For a request to arrive. */
const BODY_MS = 2_000;
/** For a request to arrive, and for the API server to say what it must. */
const REQUEST_MS = 10_000;
const IDLE_MS = 60_000;
const CLOSE_MS = 3_000;

export class AuthorityServer {
  readonly #parts: AuthorityServerParts;
  readonly #server: Http2SecureServer;
  readonly #ends = new AbortController();
  readonly #floods = new RateLimit({ perSecond: 0.1, burst: 1 });
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #connections = new AddressSlots(MAX_CONNECTIONS_OF_ADDRESS);
  readonly #open = new AddressSlots(MAX_OPEN_OF_ADDRESS);
  readonly #issuing = new AddressSlots(MAX_ISSUING_OF_ADDRESS);
  readonly #answered = new Map<GrpcCode, number>();
  #busy = 0;

  constructor(parts: AuthorityServerParts, { cert, key }: ServerKeys) {
    this.#parts = parts;
    this.#server = createSecureServer({
      ...{ cert, key, minVersion: "TLSv1.3", handshakeTimeout: HANDSHAKE_MS, maxSessionMemory: 1 },
      settings: { enablePush: false, maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEADER_BYTES },
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("sessionError", () => {});
    this.#server.on("connection", (socket) => this.#admit(socket));
    this.#server.on("session", (session) => {
      session.setTimeout(IDLE_MS, () => session.close());
      const end = (): void => session.destroy();
      this.#ends.signal.addEventListener("abort", end, { once: true });
      this.#sessions.add(session);
      session.once("close", () => {
        this.#sessions.delete(session);
        this.#ends.signal.removeEventListener("abort", end);
      });
    });
    this.#server.on("stream", (stream, headers) => {
      // A client may go while its certificate is signed.
      stream.on("error", () => {});
      void this.#serve(stream, headers);
    });
  }

  async listen(host: string, port: number): Promise<number> {
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    return (this.#server.address() as AddressInfo).port;
  }

  /** For connections from now on. */
  renew({ cert, key }: ServerKeys): void {
    this.#server.setSecureContext({ cert, key, minVersion: "TLSv1.3" });
  }

  /** Requests under way are answered, if they are within three seconds; new ones go to another replica. */
  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const session of this.#sessions) session.close();
    const late = setTimeout(() => this.#ends.abort(), CLOSE_MS);
    await closed;
    clearTimeout(late);
  }

  /** Requests since the server began, by the code that was answered. */
  get answered(): ReadonlyMap<GrpcCode, number> {
    return this.#answered;
  }

  #count(code: GrpcCode): void {
    this.#answered.set(code, (this.#answered.get(code) ?? 0) + 1);
  }

  /** An address that opens many connections leaves the others theirs. */
  #admit(socket: Socket): void {
    const from = socket.remoteAddress ?? "";
    if (this.#connections.take(from)) socket.once("close", () => this.#connections.give(from));
    else socket.destroy();
  }

  async #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const { perAddress, monotonicMs, log } = this.#parts;
    const from = stream.session?.socket?.remoteAddress ?? "";
    const facts: AuditFacts = {};
    if (!perAddress.take(from, monotonicMs())) return this.#refuseFlood(stream, from, "this address asks too often");
    if (!this.#open.take(from)) return this.#refuseFlood(stream, from, "this address has too many requests open");
    const ends = AbortSignal.any([this.#ends.signal, AbortSignal.timeout(REQUEST_MS)]);
    const expire = (): void => stream.close(constants.NGHTTP2_CANCEL);
    ends.addEventListener("abort", expire, { once: true });
    stream.once("close", () => ends.removeEventListener("abort", expire));
    const late = setTimeout(expire, BODY_MS);
    try {
      const token = tokenOf(headers);
      const request = await requestOf(stream);
      clearTimeout(late);
      const chain = await this.#issue(from, () => this.#parts.service.issue(request, token, facts, ends), ends);
      succeed(stream, encodeCertificateAnswer(chain));
      this.#count("OK");
      log.info("certificate issued", { ...facts, from });
    } catch (error) {
      const refusal = refusalOf(error);
      refuse(stream, refusal);
      this.#count(refusal.code);
      const reason = error instanceof Error ? error.message : String(error);
      log.warn("certificate refused", { ...facts, from, code: refusal.code, reason });
    } finally {
      clearTimeout(late);
      this.#open.give(from);
    }
  }

  /**
   * Issues in a slot of those that all addresses share. Nobody holds such a slot before its request has arrived, and an address holds
   * few: what asks without a valid token waits for the API server just as an agent does.
   * @throws NotIssued when there is no slot; what `issue` throws
   */
  async #issue<T>(from: string, issue: () => Promise<T>, ends: AbortSignal): Promise<T> {
    const { concurrency = 256 } = this.#parts;
    if (this.#busy >= concurrency) throw new NotIssued("RESOURCE_EXHAUSTED", "too many requests at once");
    if (!this.#issuing.take(from)) throw new NotIssued("RESOURCE_EXHAUSTED", "this address asks too much at once");
    this.#busy += 1;
    try {
      return await orAborted(issue(), ends);
    } finally {
      this.#busy -= 1;
      this.#issuing.give(from);
    }
  }

  /** One line for many: a caller that floods the authority would flood the log as well. */
  #refuseFlood(stream: ServerHttp2Stream, from: string, reason: string): void {
    const { monotonicMs, log } = this.#parts;
    const refusal = new NotIssued("RESOURCE_EXHAUSTED", reason);
    if (this.#floods.take(from, monotonicMs())) log.warn("certificate refused", { from, code: refusal.code, reason });
    this.#count(refusal.code);
    refuse(stream, refusal);
  }
}

/** An error that is no refusal is the API server's, or a mistake of ours: the caller may try again, and reads nothing of it. */
function refusalOf(error: unknown): NotIssued {
  return error instanceof NotIssued
    ? error
    : new NotIssued("UNAVAILABLE", "the authority cannot check the request now");
}

/** @throws NotIssued: another method, or no bearer token */
function tokenOf(headers: IncomingHttpHeaders): string {
  const { ":method": method, ":path": path, "content-type": type = "", authorization = "" } = headers;
  if (method !== "POST" || !/^application\/grpc(\+proto)?\s*($|;)/.test(type)) {
    throw new NotIssued("INVALID_ARGUMENT", "no gRPC");
  }
  if (path !== CREATE_CERTIFICATE) throw new NotIssued("UNIMPLEMENTED", `the one method is ${CREATE_CERTIFICATE}`);
  const [, token] = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/.exec(authorization) ?? [];
  if (token === undefined || token.length > MAX_TOKEN_CHARS) throw new NotIssued("UNAUTHENTICATED", "no bearer token");
  return token;
}

/** @throws NotIssued: too long, or no request; Error when the stream ends before */
async function requestOf(stream: ServerHttp2Stream) {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // A stream that is not read to its end still has to take the refusal.
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > MAX_MESSAGE_BYTES) throw new NotIssued("INVALID_ARGUMENT", "the message is too long");
    chunks.push(chunk);
  }
  const message = onlyGrpcMessage(Buffer.concat(chunks));
  const request = message && decodeCertificateRequest(message);
  if (request === undefined) throw new NotIssued("INVALID_ARGUMENT", "no IstioCertificateRequest");
  return request;
}

function succeed(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(frameGrpcMessage(message));
}

/** All in the first headers; what else the client sends is not read. */
function refuse(stream: ServerHttp2Stream, { code, message }: NotIssued): void {
  if (stream.destroyed || stream.closed || stream.headersSent) return;
  const status = { "grpc-status": String(grpcCodes[code]), "grpc-message": writeGrpcText(message) };
  stream.respond({ ":status": 200, "content-type": "application/grpc", ...status }, { endStream: true });
  stream.close(constants.NGHTTP2_NO_ERROR);
}
