// tests · a peer in a process of its own: it learns the secrets of its TLS session and looks for them in all memory of the process that
// started it, which is the other end. A line with its port where it listens; then, for each line "look" on its standard input, a line with
// all that it finds; at "end" it closes.
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { createInterface } from "node:readline";
import tls from "node:tls";
import { frame, preface, SETTINGS } from "./raw-h2.ts";

/** `what`: the label of the key log, with "key", "iv" or "in digits" behind it. `where`: the mapping's VmFlags (proc_pid_smaps(5)). */
export type Finding = { readonly what: string; readonly where: string };

/** The command line. `marker` is a text in the memory of the process that asks: what looks must find it. */
export type Errand = {
  readonly role: "client" | "server";
  /** Of the server to connect to. */
  readonly port: number;
  readonly ciphers: string;
  readonly marker: string;
  readonly pem: { readonly ca: string; readonly cert: string; readonly key: string };
};

/** HKDF-Expand-Label of RFC 8446 7.1, of at most one block. */
function expandLabel(digest: string, secret: Buffer, label: string, length: number): Buffer {
  const name = `tls13 ${label}`;
  const info = Buffer.concat([Buffer.from([0, length, name.length]), Buffer.from(name), Buffer.from([0, 1])]);
  return createHmac(digest, secret).update(info).digest().subarray(0, length);
}

/** What a line of the key log says, and what is derived from it (RFC 8446 7.3). */
function* secretsOf(line: Buffer): Generator<readonly [what: string, bytes: Buffer]> {
  const [label = "", , digits = ""] = line.toString().trim().split(" ");
  const secret = Buffer.from(digits, "hex");
  yield [label, secret];
  yield [`${label} in digits`, Buffer.from(digits)];
  const [digest, keyLength] = secret.length === 48 ? (["sha384", 32] as const) : (["sha256", 16] as const);
  yield [`${label} key`, expandLabel(digest, secret, "key", keyLength)];
  yield [`${label} iv`, expandLabel(digest, secret, "iv", 12)];
}

/** All memory that `pid` can write, which is all that a secret can be in. */
function* memoryOf(pid: number): Generator<readonly [part: Buffer, flags: string]> {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const room = Buffer.alloc(4 << 20);
  // What lies across two reads is whole in the second.
  const step = room.length - 256;
  for (const mapping of readFileSync(`/proc/${pid}/smaps`, "utf8").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(mapping);
    const flags = /VmFlags: (.*)/.exec(mapping)?.[1]?.trim() ?? "";
    const [from, to] = [Number(`0x${range?.[1] ?? 0}`), Number(`0x${range?.[2] ?? 0}`)];
    for (let at = from; at < to; at += step) {
      try {
        yield [room.subarray(0, readSync(memory, room, 0, Math.min(room.length, to - at), at)), flags];
      } catch {
        // Unmapped since, or pages of a device.
      }
    }
  }
  closeSync(memory);
}

function look(pid: number, wanted: ReadonlyMap<string, Buffer>): Finding[] {
  const found: Finding[] = [];
  for (const [part, where] of memoryOf(pid))
    for (const [what, bytes] of wanted) if (part.includes(bytes)) found.push({ what, where });
  return found;
}

if (import.meta.main) {
  const { role, port, pem, marker, ciphers }: Errand = JSON.parse(process.argv[2] ?? "");
  const wanted = new Map<string, Buffer>([["marker", Buffer.from(marker)]]);
  const learn = (line: Buffer): void => {
    for (const [what, bytes] of secretsOf(line)) wanted.set(what, bytes);
  };
  const options = { ...pem, ciphers, ALPNProtocols: ["h2"], rejectUnauthorized: false, requestCert: true };
  let socket: tls.TLSSocket;
  if (role === "client") {
    socket = tls.connect({ ...options, host: "127.0.0.1", port });
    socket.on("keylog", learn);
    await once(socket, "secureConnect");
    socket.write(Buffer.concat([preface, frame(SETTINGS, 0, 0)]));
  } else {
    const server = tls.createServer(options).listen(0, "127.0.0.1");
    server.on("keylog", learn);
    await once(server, "listening");
    const address = server.address();
    console.log(typeof address === "object" ? address?.port : "");
    [socket] = await once(server, "secureConnection");
    socket.write(frame(SETTINGS, 0, 0));
  }
  // What the other end writes first: its records are sealed and opened from here on.
  await once(socket, "data");
  socket.resume();
  for await (const line of createInterface(process.stdin)) {
    if (line === "end") socket.destroy();
    else console.log(JSON.stringify(look(process.ppid, wanted)));
  }
}
