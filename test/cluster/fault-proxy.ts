// test cluster · a proxy between the agent's client and a real API server, with TLS and HTTP/2 on both sides. It does on order what bad
// servers, proxies and networks do. Each question goes to the server on its own stream, with the headers that the client has sent.
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from "node:http2";
import { type Fault, pass } from "./fault.ts";
import { FaultExchange } from "./fault-exchange.ts";

export type FaultProxyOptions = {
  /** `https://host:port` of the API server. */
  readonly server: string;
  /** PEM: the authority of the server's certificate. */
  readonly ca: Buffer;
  /** PEM: what the proxy shows to its clients, for 127.0.0.1. */
  readonly certificate: Buffer;
  readonly key: Buffer;
};

export class FaultProxy {
  readonly url: string;
  /** What happens to the answer of a question; the path has its query. */
  decide: (path: string) => Fault = () => pass;
  /** How often each fault has happened, by `nameOf`. */
  readonly happened = new Map<string, number>();
  /** How often the real server has answered with each status. */
  readonly statuses = new Map<number, number>();
  /** Hears each status of the real server. */
  answered: (status: number, path: string) => void = () => {};
  readonly #options: FaultProxyOptions;
  readonly #listener: Http2SecureServer;
  readonly #clients = new Set<ServerHttp2Session>();
  readonly #open = new Set<FaultExchange>();
  #server: Promise<ClientHttp2Session>;

  /** Connects to the server first: the proxy's own connections have the limits of the server's. @throws Error when it does not answer */
  static async listen(options: FaultProxyOptions): Promise<FaultProxy> {
    const server = await connected(options);
    const { initialWindowSize, maxConcurrentStreams, maxFrameSize } = server.remoteSettings;
    const settings: Settings = {};
    if (initialWindowSize !== undefined) settings.initialWindowSize = initialWindowSize;
    if (maxConcurrentStreams !== undefined) settings.maxConcurrentStreams = maxConcurrentStreams;
    if (maxFrameSize !== undefined) settings.maxFrameSize = maxFrameSize;
    const listener = createSecureServer({ cert: options.certificate, key: options.key, settings });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    return new FaultProxy(options, listener, server);
  }

  private constructor(options: FaultProxyOptions, listener: Http2SecureServer, server: ClientHttp2Session) {
    this.#options = options;
    this.#listener = listener;
    this.#server = Promise.resolve(server);
    const address = listener.address();
    if (typeof address !== "object" || address === null) throw new Error("the proxy has no address");
    this.url = `https://127.0.0.1:${address.port}`;
    listener.on("session", (session) => {
      this.#clients.add(session);
      session.once("close", () => this.#clients.delete(session));
    });
    // A client that goes away in the middle of anything is no fault of the proxy.
    for (const event of ["sessionError", "tlsClientError"]) listener.on(event, () => {});
    listener.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      void this.#serve(stream, headers);
    });
  }

  /** Answers that are under way. */
  get open(): number {
    return this.#open.size;
  }

  /** The fault for every answer that is under way; `pass` lets go on what a fault holds up. */
  strike(fault: Fault): void {
    for (const exchange of [...this.#open]) exchange.strike(fault);
  }

  /** What is open goes on; new questions must go over another connection. */
  goAway(): void {
    for (const session of this.#clients) if (!session.closed && !session.destroyed) session.close();
    this.#count("go-away");
  }

  /** Ends every connection of clients at once, with all that is on them. */
  hangUp(): void {
    for (const session of [...this.#clients]) session.destroy();
    this.#count("hang-up");
  }

  async close(): Promise<void> {
    for (const session of [...this.#clients]) session.destroy();
    const closed = once(this.#listener, "close");
    this.#listener.close();
    await closed;
    await this.#server.then(
      (session) => session.destroy(),
      () => undefined,
    );
  }

  async #serve(client: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    const path = headers[constants.HTTP2_HEADER_PATH]?.toString() ?? "";
    const fault = this.decide(path);
    if (fault.kind === "answer") {
      const retryAfter = fault.retryAfterS === undefined ? {} : { "retry-after": String(fault.retryAfterS) };
      client.respond({ ":status": fault.status, "content-type": fault.contentType, ...retryAfter });
      client.end(fault.body);
      this.#count(nameOf(fault));
      return;
    }
    const exchange = new FaultExchange(client, fault, (done) => this.#count(nameOf(done)));
    this.#open.add(exchange);
    client.once("close", () => this.#open.delete(exchange));
    try {
      const session = await this.#toServer();
      const question = session.request(askedOf(headers));
      client.once("close", () => question.close(constants.NGHTTP2_CANCEL));
      const { [constants.HTTP2_HEADER_STATUS]: status = 0, "content-length": _, ...rest } = await headOf(question);
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
      this.answered(status, path);
      if (client.destroyed || client.closed) return;
      // Without the length that the server has announced, an answer that was cut may pass for a whole answer.
      client.respond({ ...rest, [constants.HTTP2_HEADER_STATUS]: status });
      await exchange.relay(question);
    } catch {
      if (!client.destroyed) client.close(constants.NGHTTP2_REFUSED_STREAM);
    }
  }

  #toServer(): Promise<ClientHttp2Session> {
    const before = this.#server.catch(() => undefined);
    this.#server = before.then((session) =>
      session === undefined || session.closed || session.destroyed ? connected(this.#options) : session,
    );
    this.#server.catch(() => undefined);
    return this.#server;
  }

  #count(name: string): void {
    this.happened.set(name, (this.happened.get(name) ?? 0) + 1);
  }
}

/** A fault's name in counts: of answers with their status and type, of cuts with how they end. */
export function nameOf(fault: Fault): string {
  if (fault.kind === "answer") return `answer ${fault.status} ${fault.contentType}`;
  return fault.kind === "cut" ? `cut ${fault.how}` : fault.kind;
}

/** What the client has asked; host and scheme are the proxy's own. */
function askedOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { ":authority": _, ":scheme": __, host: ___, ...asked } = headers;
  return asked;
}

type Head = IncomingHttpHeaders & { readonly [constants.HTTP2_HEADER_STATUS]?: number };

function headOf(question: ClientHttp2Stream): Promise<Head> {
  return new Promise((resolve, reject) => {
    question.once("response", resolve);
    question.on("error", reject);
    question.once("close", () => reject(new Error("the server ended the stream without an answer")));
  });
}

async function connected({ server, ca }: FaultProxyOptions): Promise<ClientHttp2Session> {
  const session = connect(server, { ca, minVersion: "TLSv1.2" });
  session.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    session.once("remoteSettings", () => resolve());
    session.once("error", reject);
    session.once("close", () => reject(new Error(`${server} ended the connection`)));
  });
  return session;
}
