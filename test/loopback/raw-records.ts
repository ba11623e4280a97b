// tests · a peer that may write bytes of its own between the records of its TLS.
import { once } from "node:events";
import net from "node:net";
import { Duplex } from "node:stream";
import tls from "node:tls";
import { clientLeaf } from "./hbone-pair.ts";
import { closedAtEnd } from "./support.ts";

export type RecordPeer = {
  readonly tls: tls.TLSSocket;
  /** Under its TLS. */
  readonly raw: net.Socket;
  /** "end" for a FIN, else the code of the error with which its TLS ended. */
  readonly ended: Promise<string>;
};

/** Connected to `port` with the test client's certificate. */
export async function recordPeer(port: number, options: tls.ConnectionOptions = {}): Promise<RecordPeer> {
  const raw = closedAtEnd(net.connect(port, "127.0.0.1"));
  await once(raw, "connect");
  const between = new Duplex({
    read: () => raw.resume(),
    write: (chunk: Buffer, _encoding, done) => void raw.write(chunk, done),
    final: (done) => void raw.end(done),
  });
  raw.on("data", (data: Buffer) => void (between.push(data) || raw.pause()));
  raw.on("end", () => between.push(null));
  raw.on("error", () => {
    // The engine resets what it refuses; what it said before has been read.
  });
  raw.on("close", () => between.push(null));
  const secure = closedAtEnd(
    tls.connect({
      ...{ socket: between, rejectUnauthorized: false, ALPNProtocols: ["h2"] },
      ...{ cert: clientLeaf.chainPem, key: clientLeaf.keyPem, ...options },
    }),
  );
  const ended = new Promise<string>((resolve) => {
    secure.on("end", () => resolve("end"));
    secure.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
  await once(secure, "secureConnect");
  secure.resume();
  return { tls: secure, raw, ended };
}
