// demo · bytes that prove themselves: a stream made from a seed, followed by its SHA-256. Both ends of the demo's
// application use it, so a byte that is lost, doubled, changed or out of order cannot go unseen.
import { createCipheriv, createHash, type Hash } from "node:crypto";
import type net from "node:net";

export type TransferRequest = {
  /** Of each direction. */
  readonly bytes: number;
  readonly clientSeed: number;
  readonly serverSeed: number;
  /** The server reads slowly: it pauses this long, in milliseconds, after each chunk. */
  readonly serverDelayMs: number;
};

/** What one side saw of the other's stream. `matches`: the digest that followed is that of the bytes received. */
export type Received = { readonly bytes: number; readonly sha256: string; readonly matches: boolean };

const DIGEST_BYTES = 32;
const CHUNK_BYTES = 256 * 1024;

/** AES-CTR over zeros: fast, and incompressible. */
function generator(seed: number): (bytes: number) => Buffer {
  const cipher = createCipheriv("aes-128-ctr", createHash("md5").update(String(seed)).digest(), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK_BYTES);
  return (bytes) => cipher.update(zeros.subarray(0, bytes));
}

/** Sends `bytes` made from `seed`, then their SHA-256. Respects back-pressure. */
export async function sendStream(socket: net.Socket, bytes: number, seed: number): Promise<void> {
  const next = generator(seed);
  const hash = createHash("sha256");
  for (let left = bytes; left > 0; ) {
    const chunk = next(Math.min(left, CHUNK_BYTES));
    hash.update(chunk);
    left -= chunk.length;
    await write(socket, chunk);
  }
  await write(socket, hash.digest());
}

function write(socket: net.Socket, data: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

/**
 * Reads `bytes` and their SHA-256. With `toEnd` it then waits for the peer's end of stream, and any byte more is an error;
 * without, what follows is put back for the next reader.
 */
export function receive(socket: net.Socket, bytes: number, delayMs: number, toEnd: boolean): Promise<Received> {
  const hash: Hash = createHash("sha256");
  const digest: Buffer[] = [];
  let got = 0;
  let digestBytes = 0;
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      socket.removeListener("data", onData);
      socket.removeListener("end", onEnd);
      socket.removeListener("close", onClose);
      const sha256 = hash.digest("hex");
      resolve({ bytes: got, sha256, matches: Buffer.concat(digest).toString("hex") === sha256 });
    };
    const onData = (chunk: Buffer): void => {
      const body = chunk.subarray(0, Math.max(0, bytes - got));
      hash.update(body);
      got += body.length;
      const rest = chunk.subarray(body.length);
      const proof = rest.subarray(0, DIGEST_BYTES - digestBytes);
      digest.push(proof);
      digestBytes += proof.length;
      const more = rest.subarray(proof.length);
      if (more.length > 0 && toEnd) {
        reject(new Error(`${more.length} bytes after the end`));
        return;
      }
      if (digestBytes === DIGEST_BYTES && !toEnd) {
        socket.pause();
        if (more.length > 0) socket.unshift(more);
        finish();
        return;
      }
      if (delayMs > 0) {
        socket.pause();
        setTimeout(() => socket.resume(), delayMs);
      }
    };
    const onEnd = (): void =>
      digestBytes === DIGEST_BYTES ? finish() : reject(new Error(`ended after ${got} of ${bytes} bytes`));
    const onClose = (): void => reject(new Error(`closed after ${got} of ${bytes} bytes`));
    socket.on("data", onData);
    socket.on("end", onEnd);
    socket.on("close", onClose);
    socket.resume();
  });
}

/** `address:port`, IPv6 in brackets; `?` for what the kernel would not tell (a socket that is gone already). */
export function endpoint(address: string | undefined, port: number | undefined): string {
  if (address === undefined || port === undefined) return "?";
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
