// tests · the engine against an independent implementation, node:http2, in both roles.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ca, clientEngine, clientLeaf, installBoth, serverEngine } from "./hbone-pair.ts";
import { peerServer } from "./http2-peer.ts";
import { dial, howItEnds, readAll, serve } from "./support.ts";

/** A node:http2 client with our client's certificate. */
function peerClient(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`https://127.0.0.1:${port}`, {
    ca: ca.pem,
    cert: clientLeaf.chainPem,
    key: clientLeaf.keyPem,
    // SPIFFE certificates name no host.
    checkServerIdentity: () => undefined,
  });
  session.on("error", () => {
    // Tests that care listen for "close" and read the code.
  });
  return session;
}

/** The code of the RST_STREAM that ended it. */
const resetCode = (stream: http2.ClientHttp2Stream): Promise<number | undefined> =>
  new Promise((resolve) => stream.on("close", () => resolve(stream.rstCode)));

const connectHeaders = { ":method": "CONNECT", ":authority": "127.0.0.1:80" };

test("node:http2 as client: the documented SETTINGS, bytes exact, half close", async () => {
  installBoth();
  const app = await serve((socket) => socket.pipe(socket));
  using under = serverEngine(() => app.port);
  const session = peerClient(under.listen(2, "hbone"));
  const [settings] = (await once(session, "remoteSettings")) as [http2.Settings];
  assert.equal(settings.initialWindowSize, 65_535, "until the answer; then 4 MiB");
  assert.equal(settings.maxFrameSize, 1 << 20);
  assert.equal(settings.maxConcurrentStreams, 200);
  assert.equal(settings.maxHeaderListSize, 65_536);
  const stream = session.request(connectHeaders, { endStream: false });
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders & { ":status": number }];
  assert.equal(headers[":status"], 200);
  assert.equal(headers.baggage, "k8s.namespace.name=server");
  const payload = randomBytes(5_000_000);
  stream.end(payload);
  const echoed: Buffer[] = [];
  for await (const chunk of stream) echoed.push(chunk);
  assert.deepEqual(Buffer.concat(echoed), payload);
  assert.equal((await under.event("closed")).cause, "finished");
  session.close();
  app.close();
});

test("node:http2 as client: no CONNECT is 400, a refusal is its status", async () => {
  installBoth();
  using under = serverEngine(
    () => 1,
    (event) =>
      event.type === "connect-request"
        ? { conn: event.conn, generation: event.generation, type: "refuse", status: 401 }
        : undefined,
  );
  const session = peerClient(under.listen(2, "hbone"));
  const status = async (headers: http2.OutgoingHttpHeaders): Promise<number> => {
    const stream = session.request(headers, { endStream: false });
    stream.on("error", () => {
      // The engine resets what it refused.
    });
    const [response] = (await once(stream, "response")) as [{ ":status": number }];
    return response[":status"];
  };
  assert.equal(await status({ ":method": "GET", ":path": "/", ":scheme": "https", ":authority": "a" }), 400);
  assert.equal(await status(connectHeaders), 401);
  assert.equal(under.closed().length, 1, "what never was a CONNECT was never reported");
  session.close();
});

test("node:http2 as client: a stream that is cancelled while the application thinks ends its connection, also where it is read", async () => {
  installBoth();
  const app = await serve((socket) => socket.resume());
  using under = serverEngine(
    () => app.port,
    (event) => {
      const { conn, generation } = "conn" in event ? event : { conn: 0, generation: 0 };
      const to = { address: "127.0.0.1", port: app.port };
      if (event.type === "request") return { type: "forward", conn, generation, request: event.request, target: "" };
      if (event.type !== "connect-request") return undefined;
      return { conn, generation, type: "dial", podIdx: 2, to, from: null, baggage: "", reading: "or-end" };
    },
  );
  const session = peerClient(under.listen(2, "hbone"));
  const stream = session.request(connectHeaders, { endStream: false });
  stream.on("error", () => {
    // It is we who cancel.
  });
  stream.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  await under.event("request");
  while ((app.connections[0]?.bytesRead ?? 0) === 0) await sleep(1);
  stream.close(http2.constants.NGHTTP2_CANCEL);
  assert.equal((await under.event("request-ended")).outcome, "reset-by-downstream");
  assert.equal((await under.event("closed")).cause, "reset-by-downstream");
  session.close();
});

test("node:http2 as client: data before the 200 waits for it, and all of a large upload arrives", async () => {
  installBoth();
  const got: Buffer[] = [];
  const app = await serve((socket) => {
    socket.on("data", (data) => got.push(data));
    socket.on("end", () => socket.end());
  });
  let asked = 0;
  using under = serverEngine(
    () => app.port,
    (event, { engine }) => {
      if (event.type !== "connect-request") return undefined;
      asked += 1;
      const { conn, generation } = event;
      const to = { address: "127.0.0.1", port: app.port };
      setTimeout(() => engine.answer({ conn, generation, type: "dial", podIdx: 2, to, from: null, baggage: "" }), 50);
      return { conn: 0, generation: 0, type: "close" };
    },
  );
  const session = peerClient(under.listen(2, "hbone"));
  const stream = session.request(connectHeaders, { endStream: false });
  const payload = randomBytes(3_000_000);
  stream.end(payload);
  while (asked === 0) await sleep(1);
  assert.equal(app.connections.length, 0, "nothing reaches the application before the answer");
  const [headers] = (await once(stream, "response")) as [{ ":status": number }];
  assert.equal(headers[":status"], 200);
  stream.resume();
  await once(stream, "end");
  assert.ok(Buffer.concat(got).equals(payload));
  assert.equal((await under.event("closed")).cause, "finished");
  session.close();
  app.close();
});

test("node:http2 as client: RST_STREAM in both directions", async () => {
  installBoth();
  const app = await serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
  using under = serverEngine(() => app.port);
  const session = peerClient(under.listen(2, "hbone"));
  const first = session.request(connectHeaders, { endStream: false });
  first.on("error", () => {});
  await once(first, "response");
  const code = resetCode(first);
  first.write("reset me");
  assert.equal(await code, http2.constants.NGHTTP2_CONNECT_ERROR);
  const second = session.request(connectHeaders, { endStream: false });
  await once(second, "response");
  while (app.connections.length < 2) await sleep(1);
  const at = app.connections[1];
  assert.ok(at);
  const ending = howItEnds(at);
  second.on("error", () => {});
  second.destroy(new Error("becomes RST_STREAM"));
  assert.equal(await ending, "ECONNRESET");
  session.close();
  app.close();
});

test("node:http2 as server: the documented headers, 20 MB exact both ways", async () => {
  installBoth();
  let seen: http2.IncomingHttpHeaders = {};
  const peer = await peerServer((stream, headers) => {
    seen = headers;
    stream.respond({ ":status": 200, baggage: "service.name=peer" });
    stream.pipe(stream);
  });
  using under = clientEngine(() => peer.port);
  const socket = await dial(under.listen(1, "outbound"));
  const payload = randomBytes(20_000_000);
  socket.end(payload);
  const hash = createHash("sha256");
  for await (const chunk of socket) hash.update(chunk);
  assert.equal(hash.digest("hex"), createHash("sha256").update(payload).digest("hex"));
  assert.equal(seen[":method"], "CONNECT");
  assert.equal(seen[":authority"], "127.0.0.1:80");
  assert.equal(seen[":scheme"], undefined);
  assert.equal(seen[":path"], undefined);
  assert.equal(seen.baggage, "k8s.namespace.name=default");
  assert.deepEqual(
    Object.keys(seen).filter((name) => !name.startsWith(":")),
    ["baggage", "forwarded", "traceparent"],
  );
  assert.equal((await under.event("established")).baggage, "service.name=peer");
  assert.equal((await under.event("closed")).cause, "finished");
  peer.close();
});

test("node:http2 as server: its stream limit is kept, more tunnels are dialled", async () => {
  installBoth();
  const peer = await peerServer(
    (stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    },
    { maxConcurrentStreams: 2 },
  );
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const sockets = [];
  for (let i = 0; i < 5; i++) {
    const socket = await dial(port);
    socket.write("x");
    await once(socket, "data");
    sockets.push(socket);
  }
  assert.equal(under.engine.stats().tunnelsDialledTotal, 3);
  for (const socket of sockets) socket.end();
  peer.close();
});

test("node:http2 as server: after its GOAWAY streams go on and new ones get a new tunnel", async () => {
  installBoth();
  const peer = await peerServer((stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const first = await dial(port);
  first.write("before");
  await once(first, "data");
  peer.sessions[0]?.goaway();
  const second = await dial(port);
  second.write("after");
  await once(second, "data");
  first.write("still here");
  const [data] = (await once(first, "data")) as [Buffer];
  assert.equal(data.toString(), "still here");
  assert.equal(under.engine.stats().tunnelsDialledTotal, 2);
  first.end();
  second.end();
  await Promise.all([readAll(first), readAll(second)]);
  peer.close();
});

test("node:http2 as server: an idle tunnel that died is replaced without the application noticing", async () => {
  installBoth();
  const peer = await peerServer((stream) => {
    stream.respond({ ":status": 200 });
    stream.end("served");
    stream.resume();
  });
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  for (let i = 0; i < 3; i++) {
    const socket = await dial(port);
    socket.end("x");
    assert.equal((await readAll(socket)).toString(), "served");
    for (const session of peer.sessions) session.destroy();
  }
  assert.ok(under.closed().every((event) => event.cause === "finished"));
  peer.close();
});

test("node:http2 as server: 50 streams without an answer when their tunnel dies get one more try, together", async () => {
  installBoth();
  let unanswered = 0;
  const peer = await peerServer((stream) => {
    if (peer.sessions.length === 1 && unanswered++ > 0) {
      if (unanswered === 51) peer.sessions[0]?.destroy();
      return;
    }
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  using under = clientEngine(() => peer.port);
  const port = under.listen(1, "outbound");
  const first = await dial(port); // So that the tunnel is known to have worked.
  first.end("x");
  await readAll(first);
  const echoes = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const socket = await dial(port);
      socket.end(`${index}`);
      return (await readAll(socket)).toString();
    }),
  );
  assert.deepEqual(
    echoes,
    Array.from({ length: 50 }, (_, index) => `${index}`),
  );
  assert.equal(under.engine.stats().tunnelsDialledTotal, 2);
  peer.close();
});
