// test support · a peer that speaks HBONE with node:http2, and says what it got. Runs as a program, inside a namespace of
// its own choosing: node hbone-peer.ts, with one JSON request on its input and one JSON answer on its output.
import { connect, constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { text } from "node:stream/consumers";
import { connect as connectTls } from "node:tls";

export type PeerRequest = {
  readonly host: string;
  readonly port: number;
  /** PEM; no certificate is sent when absent. `ca` is not used to judge the server: here the client is hostile. */
  readonly cert?: string;
  readonly key?: string;
  /** CONNECT to each of these, one after the other, on one tunnel. */
  readonly authorities: readonly string[];
  /** Sent after each 200; what comes back until the first line end is reported. */
  readonly say?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of TLS: these bytes as they are. */
  readonly plaintext?: string;
};
export type PeerAnswer = {
  /** The tunnel itself did not come about, or ended: an error code, or what TLS said. */
  readonly failed?: string;
  readonly protocol?: string;
  /** The server's certificate: its subjectAltName as Node prints it. */
  readonly serverSan?: string;
  readonly answers: readonly {
    readonly authority: string;
    readonly status?: number;
    readonly reset?: number;
    readonly heard?: string;
  }[];
  /** Of a plaintext attempt: all bytes that came back, as latin1. */
  readonly bytes?: string;
};

const DEADLINE_MS = 20_000;

async function speak(request: PeerRequest): Promise<PeerAnswer> {
  const tls = connectTls({
    host: request.host,
    port: request.port,
    ALPNProtocols: ["h2"],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    ...(request.cert === undefined ? {} : { cert: request.cert, key: request.key ?? "" }),
  });
  const answers: { authority: string; status?: number; reset?: number; heard?: string }[] = [];
  let failed: string | undefined;
  const broken = new Promise<void>((resolve) => {
    tls.on("error", (error: NodeJS.ErrnoException) => {
      failed ??= error.code ?? error.message;
      resolve();
    });
    tls.on("close", () => {
      failed ??= "closed";
      resolve();
    });
  });
  await Promise.race([new Promise<void>((resolve) => tls.once("secureConnect", resolve)), broken]);
  if (failed !== undefined) return { failed, answers };
  const serverSan = tls.getPeerCertificate().subjectaltname;
  const session = connect("https://unused.invalid", { createConnection: () => tls });
  session.on("error", (error: NodeJS.ErrnoException) => {
    failed ??= error.code ?? error.message;
  });
  for (const authority of request.authorities) {
    if (failed !== undefined) break;
    answers.push({ authority, ...(await Promise.race([ask(authority), broken.then(() => ({}))])) });
  }
  const outcome = failed;
  session.destroy();
  return {
    ...(outcome === undefined ? {} : { failed: outcome }),
    ...(tls.alpnProtocol ? { protocol: tls.alpnProtocol } : {}),
    ...(serverSan === undefined ? {} : { serverSan }),
    answers,
  };

  function ask(authority: string): Promise<{ status?: number; reset?: number; heard?: string }> {
    return new Promise((resolve) => {
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: "CONNECT",
        [constants.HTTP2_HEADER_AUTHORITY]: authority,
        ...request.headers,
      });
      const result: { status?: number; reset?: number; heard?: string } = {};
      const done = (): void => {
        stream.close();
        resolve(result);
      };
      stream.setTimeout(DEADLINE_MS, done);
      stream.on("error", done);
      stream.on("close", () => {
        if (stream.rstCode !== 0) result.reset = stream.rstCode;
        resolve(result);
      });
      stream.on("response", (headers) => {
        result.status = Number(headers[":status"]);
        if (result.status !== 200 || request.say === undefined) done();
        else stream.write(request.say);
      });
      let heard = "";
      stream.on("data", (data: Buffer) => {
        heard += data.toString("latin1");
        if (heard.includes("\n")) {
          result.heard = heard.trimEnd();
          done();
        }
      });
    });
  }
}

function speakPlainly(request: PeerRequest & { plaintext: string }): Promise<PeerAnswer> {
  return new Promise((resolve) => {
    let bytes = "";
    const socket = connectTcp({ host: request.host, port: request.port }, () =>
      socket.write(request.plaintext, "latin1"),
    );
    const done = (failed: string): void => {
      socket.destroy();
      resolve({ failed, bytes, answers: [] });
    };
    socket.on("data", (data) => {
      bytes += data.toString("latin1");
    });
    socket.on("end", () => done("ended"));
    socket.on("error", (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    socket.setTimeout(DEADLINE_MS, () => done("timeout"));
  });
}

const request = JSON.parse(await text(process.stdin)) as PeerRequest;
const plaintext = request.plaintext;
const answer = plaintext === undefined ? await speak(request) : await speakPlainly({ ...request, plaintext });
process.stdout.write(`${JSON.stringify(answer)}\n`);
process.exit(0);
