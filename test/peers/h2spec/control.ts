// test peers · the control of h2spec: Node's own HTTP/2 server behind the same mutual TLS, with the settings and the answers
// of an HBONE server. No CONNECT: 400. A CONNECT: 200, a line at once, then all it sends comes back.
//   node control.ts PORT CERT KEY ROOTS [late]      prints `listening`
// late: it answers a CONNECT after a while, and gives a stream a window of 65,535 bytes until then, as an HBONE server that is busy.
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

const LATE_MS = 300;
const WINDOW = 4 << 20;

const [port = "0", certificate = "", key = "", roots = "", late] = process.argv.slice(2);
const server = createSecureServer({
  cert: readFileSync(certificate),
  key: readFileSync(key),
  ca: readFileSync(roots),
  requestCert: true,
  minVersion: "TLSv1.3",
  settings: {
    ...{
      maxFrameSize: 1 << 20,
      initialWindowSize: late ? 65_535 : WINDOW,
      maxConcurrentStreams: 200,
      maxHeaderListSize: 64 << 10,
    },
  },
});
server.on("stream", async (stream, headers) => {
  // A judge resets streams and ends connections as it likes.
  stream.on("error", () => {});
  if (headers[":method"] !== "CONNECT") {
    stream.respond({ ":status": 400 }, { endStream: true });
    return;
  }
  if (late) {
    await sleep(LATE_MS);
    if (stream.destroyed) return;
    stream.session?.settings({ initialWindowSize: WINDOW });
  }
  stream.respond({ ":status": 200 });
  stream.write("220 control at your service\r\n");
  stream.pipe(stream);
});
server.on("sessionError", () => {});
server.listen(Number(port), "127.0.0.1", () => process.stdout.write("listening\n"));
