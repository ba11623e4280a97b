// loopback · a tunnel's dial that TCP refuses, or ends before the peer has spoken, is reported, and the connection waits with its bytes.
import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import type { Answer } from "../../agent/engine/answers.ts";
import type { EngineEvent, NotReached } from "../../agent/engine/events.ts";
import { TestCa } from "./certificates.ts";
import { CLIENT, ca, clientEngine, installBoth, refOf, serverEngine, serverId, serverLeaf } from "./hbone-pair.ts";
import { CLOSED_PORT, closedAtEnd, dial, dialRefused, readAll, serve } from "./support.ts";
import type { TestEngine } from "./test-engine.ts";

const NOBODY = { address: "127.0.0.1", port: CLOSED_PORT };
const ECONNREFUSED = 111;

/** Sends each connection to `first`, and answers a peer that could not be reached with `then`. */
function asking(first: () => number, then: (event: NotReached) => Answer): TestEngine {
  return clientEngine(
    () => 0,
    (event: EngineEvent) => {
      if (event.type === "accepted") return tunnelTo(event, first());
      return event.type === "not-reached" ? then(event) : undefined;
    },
  );
}

const tunnelTo = (ref: { conn: number; generation: number }, port: number): Answer => ({
  ...refOf(ref),
  type: "tunnel",
  to: { address: NOBODY.address, port },
  identity: CLIENT,
  expect: 1,
  authority: "127.0.0.1:80",
  baggage: "",
  forwarded: "",
  traceparent: "",
  reportsNotReached: true,
});

async function listening(server: net.Server): Promise<number> {
  server.on("connection", (socket) => closedAtEnd(socket).on("error", () => undefined));
  closedAtEnd(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as net.AddressInfo).port;
}

/** Peers that are dialled and do not become tunnels, with the cause that the engine names. A reset may be seen by connect already. */
const peers: readonly (readonly [string, RegExp, () => Promise<number>])[] = [
  ["refused by TCP", /^connect-failed$/, async () => NOBODY.port],
  [
    "reset before TLS",
    /^(connect|tls)-failed$/,
    () => listening(net.createServer((socket) => socket.resetAndDestroy())),
  ],
  [
    "closed behind our first message",
    /^tls-failed$/,
    () => listening(net.createServer((socket) => socket.once("data", () => socket.end()))),
  ],
  [
    "closed after TLS and before SETTINGS",
    /^tunnel-lost$/,
    async () => {
      const { chainPem: cert, keyPem: key } = serverLeaf;
      const server = tls.createServer({ cert, key, ca: ca.pem, requestCert: true, ALPNProtocols: ["h2"] });
      server.on("secureConnection", (socket) => socket.end());
      return await listening(server);
    },
  ],
];

for (const [name, cause, start] of peers) {
  test(`${name}: the connection waits, and what it wrote arrives once, through the next tunnel`, async () => {
    installBoth();
    const received: string[] = [];
    const app = await serve((socket) => {
      socket.on("data", (data) => received.push(data.toString()));
      socket.on("end", () => socket.end("answer"));
    });
    const port = await start();
    using server = serverEngine(() => app.port);
    const hbone = server.listen(2, "hbone");
    using client = asking(
      () => port,
      (event) => tunnelTo(event, hbone),
    );
    const socket = await dial(client.listen(1, "outbound"));
    socket.end("question");
    assert.equal((await readAll(socket)).toString(), "answer");
    const closed = await client.event("closed");
    assert.deepEqual([closed.cause, closed.sentBytes, closed.receivedBytes], ["finished", 8, 6]);
    assert.equal(received.join(""), "question");
    const reports = client.events.filter((event) => event.type === "not-reached");
    assert.deepEqual(
      reports.map(({ to, podIdx }) => [to.port, podIdx]),
      [[port, 1]],
    );
    assert.match(reports[0]?.cause ?? "", cause);
    app.close();
  });

  test(`${name}: the connection may go in plaintext instead`, async () => {
    installBoth();
    const app = await serve((socket) => socket.pipe(socket));
    const port = await start();
    using client = asking(
      () => port,
      (event) => ({ ...refOf(event), type: "relay", to: { address: "127.0.0.1", port: app.port } }),
    );
    const socket = await dial(client.listen(1, "outbound"));
    socket.end("question");
    assert.equal((await readAll(socket)).toString(), "question");
    const { upstream } = await client.event("established");
    assert.equal(upstream.port, app.port);
    app.close();
  });
}

test("each failure is reported, until a dial that does not ask for it ends the connection with its own cause", async () => {
  installBoth();
  let failures = 0;
  using client = asking(
    () => NOBODY.port,
    (event) => {
      failures += 1;
      return { ...tunnelTo(event, NOBODY.port), ...(failures === 3 && { reportsNotReached: false }) } as Answer;
    },
  );
  assert.equal(await dialRefused(client.listen(1, "outbound")), "ECONNRESET");
  const closed = await client.event("closed");
  assert.deepEqual([failures, closed.cause, closed.detail], [3, "connect-failed", ECONNREFUSED]);
});

test("a connection that waits for an answer may be refused, closed, or ended by its application", async () => {
  installBoth();
  for (const type of ["refuse", "close"] as const) {
    using client = asking(
      () => NOBODY.port,
      (event) => (type === "refuse" ? { ...refOf(event), type, status: 503 } : { ...refOf(event), type }),
    );
    assert.equal(await dialRefused(client.listen(1, "outbound")), "ECONNRESET");
    assert.equal((await client.event("closed")).cause, type === "refuse" ? "refused" : "closed-by-answer");
  }
  using silent = clientEngine(
    () => NOBODY.port,
    (event) => (event.type === "accepted" ? tunnelTo(event, NOBODY.port) : undefined),
  );
  const socket = await dial(silent.listen(1, "outbound"));
  await silent.event("not-reached");
  socket.resetAndDestroy();
  assert.equal((await silent.event("closed")).cause, "reset-by-downstream");
});

test("a peer that has said why is not dialled again", async () => {
  installBoth();
  const stranger = await (await TestCa.create()).leaf(serverId);
  const plain = net.createServer((socket) => socket.end("SSH-2.0-OpenSSH\r\n"));
  const foreign = tls.createServer({ cert: stranger.chainPem, key: stranger.keyPem, ALPNProtocols: ["h2"] });
  foreign.on("tlsClientError", () => undefined);
  for (const server of [plain, foreign]) {
    const port = await listening(server);
    using client = asking(
      () => port,
      (event) => tunnelTo(event, port),
    );
    assert.equal(await dialRefused(client.listen(1, "outbound")), "ECONNRESET");
    assert.equal((await client.event("closed")).cause, "tls-failed");
    assert.ok(client.events.every(({ type }) => type !== "not-reached"));
  }
});
