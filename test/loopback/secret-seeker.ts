// tests · a peer in a process of its own: it learns the secrets of its TLS session and looks for them in all memory of the process that
// started it, which is the other end. A line with its port where it listens; then, for each line on its standard input, a line with all that
// it finds: "look" alone, or behind an "update" of the keys, or behind the "end" of the tunnel.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import tls from "node:tls";
import { frame, PING, preface, SETTINGS } from "./raw-h2.ts";

/** `what`: the label of the key log, with "key", "iv" or "in digits" behind it, and "next" in front behind a key update. `where`: the mapping's VmFlags (proc_pid_smaps(5)). */
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

/** What a line of the key log says, and what is derived from it (RFC 8446 7.2, 7.3). */
function* secretsOf(line: string): Generator<readonly [what: string, bytes: Buffer]> {
  const [label = "", , digits = ""] = line.split(" ");
  const secret = Buffer.from(digits, "hex");
  yield [label, secret];
  yield [`${label} in digits`, Buffer.from(digits)];
  if (!label.endsWith("TRAFFIC_SECRET_0")) return;
  const [digest, keyLength] = secret.length === 48 ? (["sha384", 32] as const) : (["sha256", 16] as const);
  yield [`${label} key`, expandLabel(digest, secret, "key", keyLength)];
  yield [`${label} iv`, expandLabel(digest, secret, "iv", 12)];
  const next = expandLabel(digest, secret, "traffic upd", secret.length);
  yield [`next ${label}`, next];
  yield [`next ${label} key`, expandLabel(digest, next, "key", keyLength)];
}

/** All memory that `pid` can write, which is all that a secret can be in. */
function* memoryOf(pid: number): Generator<readonly [part: Buffer, flags: string]> {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const room = Buffer.alloc(4 << 20);
  // What lies across two reads is whole in the second.
  const step = room.length - 256;
  for (const mapping of readFileSync(`/proc/${pid}/smaps`, "utf8").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(mapping);
    // Nothing was ever written there.
    if (/^Rss:\s+0 kB$/m.test(mapping) && /^Swap:\s+0 kB$/m.test(mapping)) continue;
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

/** The other end of a tunnel. */
type Peer = {
  /** Both directions have new keys when it resolves. */
  update(): Promise<void>;
  end(): void;
};
type Learn = (line: string) => void;
const settings = frame(SETTINGS, 0, 0);

/** OpenSSL's own client: Node has no key updates. Resolves when the engine has said something. */
async function connected({ port, pem, ciphers }: Errand, learn: Learn): Promise<Peer> {
  const folder = mkdtempSync(path.join(tmpdir(), "orlop-secrets-"));
  const [cert, key, log] = ["cert", "key", "log"].map((name) => path.join(folder, name)) as [string, string, string];
  writeFileSync(cert, pem.cert);
  writeFileSync(key, pem.key);
  const words = `s_client -connect 127.0.0.1:${port} -alpn h2 -ciphersuites ${ciphers}`.split(" ");
  const client = spawn("openssl", [...words, "-cert", cert, "-key", key, "-keylogfile", log]);
  // A command of its begins a read of its input, so what follows waits until it has answered.
  while (!String(await once(client.stdout, "data")).includes("Verify return code"));
  client.stdin.write(Buffer.concat([preface, settings]));
  await once(client.stdout, "data");
  for (const line of readFileSync(log, "utf8").trim().split("\n")) if (!line.startsWith("#")) learn(line);
  rmSync(folder, { recursive: true });
  return {
    async update() {
      client.stdin.write("K\n");
      while (!String(await once(client.stderr, "data")).includes("KEYUPDATE"));
      // The engine's update goes in front of what it says next.
      client.stdin.write(frame(PING, 0, 0, Buffer.alloc(8)));
      await once(client.stdout, "data");
    },
    end: () => void client.kill(),
  };
}

/** A server. Resolves when the engine has said something. */
async function accepted({ pem, ciphers }: Errand, learn: Learn): Promise<Peer> {
  const options = { ...pem, ciphers, ALPNProtocols: ["h2"], rejectUnauthorized: false, requestCert: true };
  const server = tls.createServer(options).listen(0, "127.0.0.1");
  server.on("keylog", (line: Buffer) => learn(line.toString().trim()));
  await once(server, "listening");
  const address = server.address();
  console.log(typeof address === "object" ? address?.port : "");
  const [socket] = await once(server, "secureConnection");
  socket.on("error", () => {
    // The engine of the test ends first.
  });
  socket.write(settings);
  await once(socket, "data");
  socket.resume();
  return { update: () => Promise.reject(new Error("Node updates no keys")), end: () => socket.destroy() };
}

if (import.meta.main) {
  const errand: Errand = JSON.parse(process.argv[2] ?? "");
  const wanted = new Map<string, Buffer>([["marker", Buffer.from(errand.marker)]]);
  const learn: Learn = (line) => {
    for (const [what, bytes] of secretsOf(line)) wanted.set(what, bytes);
  };
  const peer = await (errand.role === "client" ? connected(errand, learn) : accepted(errand, learn));
  for await (const line of createInterface(process.stdin)) {
    if (line === "end") peer.end();
    if (line === "update") await peer.update();
    console.log(JSON.stringify(look(process.ppid, wanted)));
  }
}
