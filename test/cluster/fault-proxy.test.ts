// Each fault of the proxy, seen by the agent's own client, in front of a small server that speaks as an API server does.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import {
  connect,
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type Settings,
} from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import type { ApiAnswer } from "../../agent/control/kubernetes/api-answer.ts";
import { ApiClient } from "../../agent/control/kubernetes/api-client.ts";
import { cutPoint, html, lineEnd, pass, refusal } from "./fault.ts";
import { FaultProxy } from "./fault-proxy.ts";

const DEADLINE = { timeout: 30_000 };
const folder = mkdtempSync(join(tmpdir(), "orlop-fault-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
execFileSync(
  "openssl",
  [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
    ...["-subj", "/CN=proxy", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", at("key"), "-out", at("pem")],
  ],
  { stdio: "ignore" },
);
const [certificate, key] = [readFileSync(at("pem")), readFileSync(at("key"))];
const lineOf = (name: string): string => `{"type":"ADDED","object":{"name":"${name}"}}\n`;

/** A server whose /watch stays open, a proxy in front of it, and the agent's client in front of that. */
async function start(t: TestContext) {
  const sessions: ServerHttp2Session[] = [];
  const heard: string[] = [];
  const watches: ServerHttp2Stream[] = [];
  const server: Http2SecureServer = createSecureServer({
    cert: certificate,
    key,
    settings: { maxConcurrentStreams: 77 },
  });
  server.on("session", (session) => sessions.push(session));
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    heard.push(`${headers[":path"]} ${headers.authorization}`);
    if (headers[":path"] === "/reset") return stream.close(2);
    stream.respond({ ":status": 200, "content-type": "application/json" });
    if (headers[":path"] !== "/watch") return stream.end('{"kind":"PodList"}');
    watches.push(stream);
    stream.write(lineOf("first"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  t.after(async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  const proxy = await FaultProxy.listen({
    ...{ server: `https://127.0.0.1:${address.port}`, ca: certificate, certificate, key },
  });
  t.after(() => proxy.close());
  const client = new ApiClient({
    server: proxy.url,
    ca: () => certificate.toString(),
    token: () => "one",
    client: null,
  });
  t.after(() => client.close());
  const signal = new AbortController().signal;
  const ask = (path: string): Promise<ApiAnswer> => client.ask(path, { signal, idleMs: 20_000 });
  /** A watch of which the first line has come. */
  const watch = async () => {
    const reading = new Reading(await ask("/watch"));
    await reading.until(lineOf("first"));
    const stream = watches.at(-1);
    assert.ok(stream);
    return { reading, stream };
  };
  return { proxy, ask, watch, heard, sessions, client };
}

/** Reads a body as it comes. `how` is said when it has ended. */
class Reading {
  text = "";
  readonly how: Promise<"ended" | "failed">;
  #came: () => void = () => {};

  constructor({ body }: ApiAnswer) {
    this.how = this.#read(body).then(
      () => "ended",
      () => "failed",
    );
  }

  async until(text: string): Promise<void> {
    while (!this.text.endsWith(text)) {
      await new Promise<void>((resolve) => {
        this.#came = resolve;
      });
    }
  }

  async #read(body: ApiAnswer["body"]): Promise<void> {
    for await (const chunk of body) {
      this.text += Buffer.from(chunk).toString();
      this.#came();
    }
  }
}

/** @throws when the body does not end as it should */
async function textOf(answer: ApiAnswer): Promise<string> {
  const reading = new Reading(answer);
  if ((await reading.how) === "failed") throw new Error("the body was cut off");
  return reading.text;
}

test("it passes questions and answers as they are, and the limits of the server's connections", DEADLINE, async (t) => {
  const { proxy, ask, watch, heard } = await start(t);
  const answer = await ask("/api/v1/pods?limit=5");
  const seen = [answer.status, answer.contentType, await textOf(answer)];
  assert.deepEqual(seen, [200, "application/json", '{"kind":"PodList"}']);
  const other = connect(proxy.url, { ca: certificate });
  const [settings] = (await once(other, "remoteSettings")) as [Settings];
  other.close();
  assert.equal(settings.maxConcurrentStreams, 77);
  const { reading, stream } = await watch();
  stream.write(lineOf("second"));
  await reading.until(lineOf("second"));
  stream.end();
  assert.equal(await reading.how, "ended");
  await assert.rejects(ask("/reset"));
  assert.deepEqual(heard, ["/api/v1/pods?limit=5 Bearer one", "/watch Bearer one", "/reset Bearer one"]);
  assert.deepEqual([[...proxy.statuses], [...proxy.happened]], [[[200, 2]], []]);
});

test("it answers in the server's place: a portal's page, refusals, Retry-After", DEADLINE, async (t) => {
  const { proxy, ask, heard } = await start(t);
  for (const [fault, status, type, retryAfterMs] of [
    [html, 200, "text/html", null],
    [refusal(503, 7), 503, "application/json", 7_000],
    [refusal(429, 1), 429, "application/json", 1_000],
    ...[401, 403, 410, 500].map((code) => [refusal(code), code, "application/json", null] as const),
  ] as const) {
    proxy.decide = () => fault;
    const answer = await ask("/api/v1/pods");
    assert.deepEqual([answer.status, answer.contentType, answer.retryAfterMs], [status, type, retryAfterMs]);
    await textOf(answer);
  }
  assert.deepEqual([heard, [...proxy.happened.values()]], [[], [1, 1, 1, 1, 1, 1, 1]]);
});

test("a cut is in the middle of a line, whenever the bytes come, and ends as it is ordered", DEADLINE, async (t) => {
  const { proxy, watch } = await start(t);
  const second = lineOf("second");
  for (const [how, ends] of [
    ["end", "ended"],
    ["reset", "failed"],
    ["disconnect", "failed"],
  ] as const) {
    // The last of these would cut behind the line's end.
    for (const afterBytes of [0, 20, second.length]) {
      const { reading, stream } = await watch();
      proxy.strike({ kind: "cut", how, afterBytes });
      stream.write(second);
      if (afterBytes === second.length) {
        await reading.until(second);
        stream.write(second);
      }
      assert.equal(await reading.how, ends);
      // A reset may overtake bytes that the client has not read.
      if (how === "end") assert.ok(!reading.text.endsWith("\n"), reading.text);
    }
  }
  assert.deepEqual(Object.fromEntries(proxy.happened), { "cut end": 3, "cut reset": 3, "cut disconnect": 3 });
});

test("a stall holds up what comes until it is over, and a trickle brings it slowly, but whole", DEADLINE, async (t) => {
  const { proxy, watch, ask } = await start(t);
  const { reading, stream } = await watch();
  proxy.strike({ kind: "stall", afterBytes: 5, forMs: 3_600_000 });
  stream.write(lineOf("second"));
  await reading.until(lineOf("second").slice(0, 5));
  // Other questions of the same connection do not wait for it.
  await textOf(await ask("/"));
  assert.equal(reading.text, lineOf("first") + lineOf("second").slice(0, 5));
  proxy.strike(pass);
  await reading.until(lineOf("second"));
  proxy.strike({ kind: "stall", afterBytes: 0, forMs: 20 });
  stream.write(lineOf("third"));
  await reading.until(lineOf("third"));
  proxy.strike({ kind: "trickle", bytes: 3, everyMs: 1, forMs: 10 });
  stream.write(lineOf("fourth").repeat(20));
  stream.end();
  assert.equal(await reading.how, "ended");
  assert.equal(reading.text, ["first", "second", "third"].map(lineOf).join("") + lineOf("fourth").repeat(20));
  assert.deepEqual(Object.fromEntries(proxy.happened), { stall: 2, trickle: 1 });
});

test("a watch expires between two lines with an error of the status 410, quiet or not", DEADLINE, async (t) => {
  const { proxy, watch, ask } = await start(t);
  const quiet = await watch();
  proxy.strike({ kind: "expire" });
  assert.equal(await quiet.reading.how, "ended");
  const busy = await watch();
  busy.stream.write(lineOf("second").slice(0, 9));
  await busy.reading.until(lineOf("second").slice(0, 9));
  proxy.strike({ kind: "expire" });
  busy.stream.write(lineOf("second").slice(9) + lineOf("third"));
  assert.equal(await busy.reading.how, "ended");
  proxy.decide = () => ({ kind: "expire" });
  const atOnce = new Reading(await ask("/watch"));
  assert.equal(await atOnce.how, "ended");
  const texts = [quiet.reading.text, busy.reading.text, atOnce.text].map((text) => text.split("\n"));
  assert.deepEqual(
    texts.map((lines) => lines.map((line) => (line === "" ? "" : (JSON.parse(line) as { type: string }).type))),
    [
      ["ADDED", "ERROR", ""],
      ["ADDED", "ADDED", "ERROR", ""],
      ["ERROR", ""],
    ],
  );
  assert.match(texts[0]?.[1] ?? "", /"code":410/);
});

test("it hangs up on all clients, or sends them to another connection", DEADLINE, async (t) => {
  const { proxy, watch, ask, sessions } = await start(t);
  const first = await watch();
  proxy.hangUp();
  assert.equal(await first.reading.how, "failed");
  const second = await watch();
  proxy.goAway();
  second.stream.end(lineOf("second"));
  assert.equal(await second.reading.how, "ended");
  // A question that crosses the GOAWAY is refused.
  const again = async (): Promise<void> => {
    let text = "";
    while (text === "") text = await ask("/").then(textOf, () => "");
    assert.equal(text, '{"kind":"PodList"}');
  };
  await again();
  assert.equal(sessions.length, 1, "to the server it keeps one connection");
  // The server goes, and comes again: so does the proxy's connection.
  sessions[0]?.destroy();
  await again();
  assert.equal(sessions.length, 2);
});

test("where a cut or the end of a line is in a chunk", () => {
  const bytes = Buffer.from("ab\n\ncd\n");
  const cuts: readonly (readonly [number, number | undefined, number | undefined])[] = [
    [0, undefined, 1],
    [0, 0x61, 0],
    [2, undefined, 2],
    [3, undefined, 5],
    [4, undefined, 5],
    [7, undefined, undefined],
    [9, 0x61, undefined],
  ];
  for (const [least, last, found] of cuts) assert.equal(cutPoint(bytes, least, last), found, `${least} ${last}`);
  assert.equal(cutPoint(Buffer.alloc(0), 0, 0x0a), undefined);
  assert.deepEqual(
    [lineEnd(bytes, undefined), lineEnd(bytes, 0x61), lineEnd(Buffer.from("x"), 0x61)],
    [0, 3, undefined],
  );
});
