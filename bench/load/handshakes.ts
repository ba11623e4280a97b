// bench · whole mTLS 1.3 handshakes one after the other, with ALPN h2, until the server's first HTTP/2 frame: by then it has
// verified the client. `node handshakes.ts HOST PORT CA CERTIFICATE KEY SERVER_NAME SECONDS WARMUP WATCH`
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:tls";

const [
  host = "",
  port = "",
  ca = "",
  certificate = "",
  key = "",
  serverName = "",
  seconds = "",
  warmup = "",
  watch = "",
] = process.argv.slice(2);
const pids = watch.split(",").filter(Boolean);
// The client preface and an empty SETTINGS frame (RFC 9113 §3.4): some servers speak only after it.
const hello = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);
const SETTINGS = 4;
const options = {
  ...({ host, port: Number(port), minVersion: "TLSv1.3", ALPNProtocols: ["h2"], ecdhCurve: "X25519" } as const),
  ...{
    ca: readFileSync(ca),
    cert: readFileSync(certificate),
    key: readFileSync(key),
    ciphers: "TLS_AES_128_GCM_SHA256",
  },
  // The chain is checked always; the name only of servers that are known by a name.
  ...(serverName === "" ? { checkServerIdentity: () => undefined } : { servername: serverName }),
};

function handshake(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => socket.write(hello));
    socket.setTimeout(10_000, () => socket.destroy(new Error("no answer within 10 s")));
    socket.once("error", reject);
    socket.once("data", (data: Buffer) => {
      if (data[3] === SETTINGS) resolve();
      else reject(new Error("the server did not begin with SETTINGS"));
      socket.destroy();
    });
    socket.once("close", () => reject(new Error("the server closed the connection")));
  });
}

function cpuNs(): number {
  let sum = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      try {
        sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
      } catch {
        // The thread has ended since it was listed.
      }
    }
  }
  return sum;
}

const begin = performance.now();
while (performance.now() - begin < Number(warmup) * 1000) await handshake();
const measured = performance.now();
const before = cpuNs();
let handshakes = 0;
for (; performance.now() - measured < Number(seconds) * 1000; handshakes++) await handshake();
process.stdout.write(`${JSON.stringify({ handshakes, cpuNs: cpuNs() - before, ms: performance.now() - measured })}\n`);
