// test double · an authority that speaks istio.v1.auth.IstioCertificateService on a loopback port. It signs what it is asked for, or answers
// as a test says.
import { once } from "node:events";
import {
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { buffer } from "node:stream/consumers";
import {
  type CertificateRequest,
  CREATE_CERTIFICATE,
  decodeCertificateRequest,
  encodeCertificateAnswer,
} from "./certificate-messages.ts";
import { type Issuer, newRootPem, newServerCertificate, readAuthority, signLeaf } from "./csr.ts";
import { frameGrpcMessage, type GrpcCode, grpcCodes, onlyGrpcMessage } from "./grpc-message.ts";

const DAY_MS = 86_400_000;

export type Root = { readonly issuer: Issuer; readonly pem: string };

export async function newRoot(trustDomain = "cluster.local"): Promise<Root> {
  const pem = (
    await newRootPem(trustDomain, new Date(Date.now() - DAY_MS), new Date(Date.now() + 400 * DAY_MS))
  ).toString();
  const end = pem.indexOf("-----BEGIN CERTIFICATE-----");
  return { issuer: await readAuthority(Buffer.from(pem.slice(0, end)), pem.slice(end)), pem: pem.slice(end).trim() };
}

export type Asked = { readonly headers: IncomingHttpHeaders; readonly request: CertificateRequest };

/** What a test lets the server do with a request in place of signing it. */
export type Behaviour = (stream: ServerHttp2Stream, asked: Asked) => void | Promise<void>;

export class FakeAuthority {
  readonly asked: Asked[] = [];
  readonly root: Root;
  /** null: it signs. */
  behaviour: Behaviour | null = null;
  sessions = 0;
  readonly #open = new Set<ServerHttp2Session>();
  readonly #server: ReturnType<typeof createSecureServer>;

  private constructor(root: Root, server: ReturnType<typeof createSecureServer>) {
    this.root = root;
    this.#server = server;
    server.on("sessionError", () => {});
    server.on("session", (session) => {
      this.sessions += 1;
      this.#open.add(session);
      session.once("close", () => this.#open.delete(session));
    });
    server.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      void this.#serve(stream, headers).catch((error) => refuse(stream, "INTERNAL", String(error)));
    });
  }

  static async start(root: Root, serverRoot: Root = root, names = ["localhost", "127.0.0.1"]): Promise<FakeAuthority> {
    const span = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
    const { certificatePem, keyPem } = await newServerCertificate(serverRoot.issuer, names, span);
    const fake = new FakeAuthority(root, createSecureServer({ cert: certificatePem, key: keyPem }));
    fake.#server.listen(0, "127.0.0.1");
    await once(fake.#server, "listening");
    return fake;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  get address(): string {
    return `https://localhost:${this.port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const session of this.#open) session.destroy();
    await closed;
  }

  async #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const message = onlyGrpcMessage(await buffer(stream));
    const request = message && decodeCertificateRequest(message);
    if (request === undefined || headers[":path"] !== CREATE_CERTIFICATE) throw new Error("no request");
    const asked = { headers, request };
    this.asked.push(asked);
    if (this.behaviour !== null) return this.behaviour(stream, asked);
    succeed(stream, [await this.sign(asked.request), this.root.pem]);
  }

  async sign(
    { csrPem, impersonatedIdentity, validitySeconds }: CertificateRequest,
    issuer = this.root.issuer,
    life = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + validitySeconds * 1_000) },
  ): Promise<string> {
    return signLeaf(issuer, { csrPem, spiffeText: impersonatedIdentity, ...life });
  }
}

export function succeed(stream: ServerHttp2Stream, chain: readonly string[]): void {
  finish(stream, frameGrpcMessage(encodeCertificateAnswer(chain)), { "grpc-status": "0" });
}

export function finish(stream: ServerHttp2Stream, body: Uint8Array, trailers: Readonly<Record<string, string>>): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end(body);
}

/** All in the first headers, as gRPC servers refuse. */
export function refuse(stream: ServerHttp2Stream, code: GrpcCode, text: string): void {
  if (stream.destroyed || stream.headersSent) return;
  const status = { "grpc-status": String(grpcCodes[code]), "grpc-message": encodeURIComponent(text) };
  stream.respond({ ":status": 200, "content-type": "application/grpc", ...status }, { endStream: true });
}
