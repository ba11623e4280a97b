// The client against node:http2 servers that answer, stall, go and come again.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import {
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { type ApiAnswer, ServerLeaves, Silence } from "./api-answer.ts";
import { ApiClient } from "./api-client.ts";

const DEADLINE = { timeout: 120_000 };
const folder = mkdtempSync(join(tmpdir(), "orlop-api-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
for (const name of ["server", "stranger"])
  execFileSync(
    "openssl",
    [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
      ...["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-keyout", at(`${name}.key`), "-out", at(`${name}.pem`)],
    ],
    { stdio: "ignore" },
  );
const tokenFile = at("token");
writeFileSync(tokenFile, "one\n");

type Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

async function serve(t: TestContext, handle: Handler, port = 0) {
  const sessions: ServerHttp2Session[] = [];
  const server = createSecureServer({ cert: readFileSync(at("server.pem")), key: readFileSync(at("server.key")) });
  const sockets: Socket[] = [];
  server.on("connection", (socket: Socket) => sockets.push(socket));
  server.on("session", (session) => sessions.push(session));
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    handle(stream, headers);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const close = async (): Promise<void> => {
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  };
  t.after(close);
  return { port: address.port, sessions, close };
}

function clientOf(
  t: TestContext,
  port: number,
  more: {
    readonly caFile?: string;
    readonly pingMs?: number;
    readonly leavingMs?: number;
  } = {},
) {
  const { caFile = at("server.pem"), ...options } = more;
  const read = (file: string) => () => readFileSync(file, "utf8").trim();
  const server = `https://127.0.0.1:${port}`;
  const client = new ApiClient({ server, ca: read(caFile), token: read(tokenFile), client: null, ...options });
  t.after(() => client.close());
  return {
    client,
    ask: (path: string, idleMs = 20_000, signal = new AbortController().signal) => client.ask(path, { signal, idleMs }),
  };
}

async function textOf({ body }: ApiAnswer): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test(
  "asks with the token of the moment, and reads status, type, Retry-After and body, packed or not",
  DEADLINE,
  async (t) => {
    const heard: (string | undefined)[] = [];
    const { port, sessions } = await serve(t, (stream, headers) => {
      heard.push(`${headers[":path"]} ${headers.authorization} ${headers.accept}`);
      if (headers[":path"] === "/late") {
        stream.respond({ ":status": 503, "retry-after": "7", "content-type": "text/plain" });
        stream.end("later");
        return;
      }
      stream.respond({ ":status": 200, "content-type": "Application/JSON; charset=utf-8", "content-encoding": "gzip" });
      stream.end(gzipSync("{}"));
    });
    const { ask } = clientOf(t, port);
    const good = await ask("/api/v1/pods?limit=5");
    assert.deepEqual([good.status, good.contentType, good.retryAfterMs], [200, "application/json", null]);
    assert.equal(await textOf(good), "{}");
    writeFileSync(tokenFile, "two\n");
    const late = await ask("/late");
    assert.deepEqual([late.status, late.contentType, late.retryAfterMs], [503, "text/plain", 7_000]);
    assert.equal(await textOf(late), "later");
    assert.deepEqual(heard, ["/api/v1/pods?limit=5 Bearer one application/json", "/late Bearer two application/json"]);
    assert.equal(sessions.length, 1, "all questions share one connection");
    const warned: Error[] = [];
    const warn = (warning: Error): void => void warned.push(warning);
    process.on("warning", warn);
    t.after(() => process.off("warning", warn));
    for (let question = 0; question < 20; question++) await textOf(await ask("/late"));
    await new Promise(setImmediate);
    assert.deepEqual(warned, [], "a question leaves nothing behind at the connection");
  },
);

test(
  "a server that is not there, is another's, or ends the stream without an answer is an error",
  DEADLINE,
  async (t) => {
    const first = await serve(t, (stream) => stream.close(8));
    const { ask } = clientOf(t, first.port);
    await assert.rejects(ask("/"));
    await assert.rejects(clientOf(t, first.port, { caFile: at("stranger.pem") }).ask("/"), /self-signed|certificate/);
    await first.close();
    await assert.rejects(ask("/"));
    // It connects again by itself.
    await serve(
      t,
      (stream) => {
        stream.respond({ ":status": 200, "content-type": "application/json" });
        stream.end("again");
      },
      first.port,
    );
    assert.equal(await textOf(await ask("/")), "again");
  },
);

test("after GOAWAY what is open goes on, and new questions go over another connection", DEADLINE, async (t) => {
  const open: ServerHttp2Stream[] = [];
  const { port, sessions } = await serve(t, (stream, headers) => {
    stream.respond({ ":status": 200, "content-type": "application/json" });
    if (headers[":path"] === "/watch") open.push(stream);
    else stream.end("new");
  });
  const { ask } = clientOf(t, port);
  const watch = await ask("/watch");
  sessions[0]?.close();
  while (sessions.length < 2) {
    // A question that crosses the GOAWAY is refused; its kind's watch asks again.
    const answered = await ask("/other").then(textOf, () => "refused");
    assert.match(answered, /^(new|refused)$/);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  open[0]?.end("old");
  assert.equal(await textOf(watch), "old");
});

test("a body that is cut off, stalls or is aborted rejects; it never just ends", DEADLINE, async (t) => {
  for (const isGzip of [false, true]) {
    const { port } = await serve(t, (stream, headers) => {
      stream.respond({ ":status": 200, ...(isGzip ? { "content-encoding": "gzip" } : {}) });
      const begin = Buffer.from("x".repeat(5_000));
      stream.write(isGzip ? gzipSync(begin).subarray(0, 20) : begin);
      const path = headers[":path"];
      if (path === "/reset") setImmediate(() => stream.destroy(new Error("defect")));
      if (path === "/gone") setImmediate(() => stream.session?.destroy());
    });
    const { ask } = clientOf(t, port);
    for (const path of ["/reset", "/gone", "/stall"]) {
      const read = ask(path, path === "/stall" ? 100 : 20_000).then(textOf);
      await assert.rejects(read, (error) => path !== "/stall" || error instanceof Silence);
    }
    const aborting = new AbortController();
    const aborted = await ask("/abort", 20_000, aborting.signal);
    const read = textOf(aborted);
    aborting.abort();
    await assert.rejects(read);
    await assert.rejects(ask("/late", 20_000, aborting.signal), { name: "AbortError" });
  }
});

/** A network before the server. Once it is cut, it takes bytes and brings them nowhere, and neither side hears of the other's end. */
async function networkTo(t: TestContext, port: number) {
  const sockets: { readonly near: Socket; readonly far: Socket }[] = [];
  const network = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    for (const socket of [near, far]) socket.on("error", () => {});
    near.pipe(far).pipe(near);
    sockets.push({ near, far });
  });
  network.listen(0, "127.0.0.1");
  await once(network, "listening");
  t.after(() => {
    for (const { near, far } of sockets) {
      near.destroy();
      far.destroy();
    }
    network.close();
  });
  const address = network.address();
  assert.ok(address !== null && typeof address === "object");
  const cut = (): Socket => {
    const [first] = sockets;
    assert.ok(first !== undefined);
    const { near, far } = first;
    near.unpipe(far);
    far.unpipe(near);
    near.resume();
    far.resume();
    return near;
  };
  return { port: address.port, cut };
}

test("a connection on which nobody answers a PING any more is given up", DEADLINE, async (t) => {
  const { port } = await serve(t, (stream) => stream.respond({ ":status": 200 }));
  const network = await networkTo(t, port);
  const { ask } = clientOf(t, network.port, { pingMs: 1_000 });
  const watch = await ask("/watch");
  network.cut();
  await assert.rejects(textOf(watch));
});

test(
  "a server that is gone after its GOAWAY: what is open ends long before its own patience, and so does the socket",
  DEADLINE,
  async (t) => {
    const { port, sessions } = await serve(t, (stream) => stream.respond({ ":status": 200 }));
    const network = await networkTo(t, port);
    const { ask } = clientOf(t, network.port, { pingMs: 500 });
    const open = await Promise.all([ask("/watch"), ask("/list")]);
    const [session] = sessions;
    assert.ok(session !== undefined);
    const heard = once(session, "goaway");
    session.goaway();
    await heard;
    const near = network.cut();
    for (const answer of open) await assert.rejects(textOf(answer), ServerLeaves);
    const closed = new Promise((resolve) => near.once("close", resolve));
    // The kernel refuses what comes for a closed socket, and takes it for a socket that has only ended its side.
    const knocking = setInterval(() => near.write("x"), 10);
    t.after(() => clearInterval(knocking));
    await closed;
  },
);

test("after GOAWAY a silent watch ends, and what flows goes on for a bounded time", DEADLINE, async (t) => {
  const { port, sessions } = await serve(t, (stream, headers) => {
    stream.respond({ ":status": 200 });
    if (headers[":path"] === "/watch") return;
    const flowing = setInterval(() => stream.write("x"), 10);
    stream.once("close", () => clearInterval(flowing));
  });
  const { ask } = clientOf(t, port, { pingMs: 500, leavingMs: 2_000 });
  const [watch, list] = await Promise.all([ask("/watch"), ask("/list")]);
  const ended: string[] = [];
  const endOf = (name: string, answer: ApiAnswer): Promise<void> =>
    assert.rejects(textOf(answer), ServerLeaves).then(() => void ended.push(name));
  const both = Promise.all([endOf("watch", watch), endOf("list", list)]);
  sessions[0]?.goaway();
  await both;
  assert.deepEqual(ended, ["watch", "list"]);
});
