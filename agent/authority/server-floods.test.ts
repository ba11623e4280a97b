// Floods of HTTP/2 frames against the authority, by a client that has no token: an agent is served meanwhile, and nothing is kept of them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as dial } from "node:net";
import { test } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { END_HEADERS, frame, frameTypes, literal, preface } from "../../test/support/h2-frames.ts";
import { until } from "../../test/support/until.ts";
import { CREATE_CERTIFICATE } from "../identity/certificate-messages.ts";
import type { RemoteAuthority } from "../identity/remote-authority.ts";
import { never, root, setUp, web } from "./server.fake.ts";

const block = Buffer.concat([
  ...[literal(":method", "POST"), literal(":path", CREATE_CERTIFICATE), literal(":scheme", "https")],
  ...[
    literal(":authority", "localhost"),
    literal("content-type", "application/grpc"),
    literal("authorization", "Bearer x"),
  ],
]);
const odd = (at: number): number => 2 * at + 1;

/** How often each is sent: on four connections the largest are 320 MB, if anything were kept. */
const TIMES = 5_000;
const floods: Readonly<Record<string, (at: number) => Buffer>> = {
  "streams that are reset at once": (at) =>
    Buffer.concat([
      frame(frameTypes.headers, END_HEADERS, odd(at), block),
      frame(frameTypes.rstStream, 0, odd(at), Buffer.from([0, 0, 0, 8])),
    ]),
  "streams that never send a body": (at) => frame(frameTypes.headers, END_HEADERS, odd(at), block),
  "a head that never ends": (at) =>
    at === 0
      ? frame(frameTypes.headers, 0, 1, block)
      : frame(frameTypes.continuation, 0, 1, Buffer.concat(Array(80).fill(literal("x-a", "v".repeat(100))))),
  "a head of empty parts": (at) =>
    at === 0 ? frame(frameTypes.headers, 0, 1, block) : frame(frameTypes.continuation, 0, 1),
  settings: () => frame(frameTypes.settings, 0, 0, Buffer.from([0, 4, 0, 1, 0, 0])),
  pings: () => frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
  priorities: (at) => frame(frameTypes.priority, 0, odd(at), Buffer.from([0, 0, 0, 0, 16])),
  "windows that grow by nothing": (at) => frame(frameTypes.windowUpdate, 0, odd(at), Buffer.alloc(4)),
  "frames that nobody knows": () => frame(0xee, 0xff, 0, Buffer.alloc(16_000)),
};

/** Writes until all is written or the other side has gone; reads nothing of what comes back. */
async function flood(socket: TLSSocket, make: (at: number) => Buffer): Promise<void> {
  const gone = once(socket, "close").catch(() => {});
  socket.write(Buffer.concat([preface, frame(frameTypes.settings, 0, 0)]));
  for (let at = 0; at < TIMES && socket.writable; at += 1)
    if (!socket.write(make(at))) await Promise.race([once(socket, "drain").catch(() => {}), gone]);
}

/** False: not within the eight seconds of an agent's question, after which agents ask again. The flood, the server and the agent share this thread. */
async function issued(agent: RemoteAuthority): Promise<boolean> {
  try {
    (await agent.issue(web, never)).key.wipe();
    return true;
  } catch (error) {
    assert.match(String(error), /gave no answer in/);
    return false;
  }
}

for (const [name, make] of Object.entries(floods))
  test(`${name}: an agent has its certificate, and memory stays as it was`, async (t) => {
    const { agent, port } = await setUp(t);
    const sockets = Array.from({ length: 4 }, () => {
      const from = dial({ port, host: "127.0.0.1", localAddress: "127.0.0.3" });
      const socket = connect({ socket: from, servername: "localhost", ca: root.pem, ALPNProtocols: ["h2"] });
      socket.on("error", () => {});
      socket.resume();
      t.after(() => void socket.destroy());
      return socket;
    });
    await Promise.all(sockets.map((socket) => once(socket, "secureConnect")));
    const before = process.memoryUsage.rss();
    const flooded = Promise.all(sockets.map((socket) => flood(socket, make)));
    // While it goes on, and behind it.
    for (let asked = 0; asked < 3; asked += 1) await until(() => issued(agent("token-a")), { what: "a certificate" });
    // The rest may wait at a server that reads no more of it.
    const served = (async () => {
      for (let asked = 0; asked < 20; asked += 1)
        await until(() => issued(agent("token-a")), { what: "a certificate" });
    })();
    await Promise.race([flooded, served]);
    await served;
    const grownMb = (process.memoryUsage.rss() - before) / 1024 ** 2;
    assert.ok(grownMb < 128, `${Math.round(grownMb)} MB`);
  });
