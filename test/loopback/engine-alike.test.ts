// The same random request as HTTP/1.1 and as HTTP/2, through the engine to the same application, which node:http and node:http2 serve:
// rules are shown the same, the application gets the same, its caller gets the same, and the record says the same. ORLOP_REQUESTS of
// them, with early answers, trailers, and applications that break off.
import assert from "node:assert/strict";
import { createHash, randomInt } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import type { RequestEnded, RequestEvent } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { ask as askHttp2, h2cCaller } from "./h2c.ts";
import { endedOf, serves, to } from "./origin-engine.ts";
import { closedAtEnd } from "./support.ts";

const wanted = Number(process.env.ORLOP_REQUESTS ?? 2_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const AT_ONCE = 8;

type Fields = readonly (readonly [name: string, value: string])[];
type Case = {
  readonly id: string;
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly fields: Fields;
  readonly body: readonly Buffer[];
  readonly trailers: Fields;
  readonly answer: {
    /** "early": without waiting for the request's body. "reset": nothing comes. "cut": it breaks off in the midst of its body. */
    readonly way: "whole" | "early" | "reset" | "cut";
    readonly status: number;
    readonly fields: Fields;
    readonly body: readonly Buffer[];
    readonly trailers: Fields;
  };
};

const hasNoBody = (method: string, status: number): boolean => method === "HEAD" || status === 204 || status === 304;
const bodyless = new Set(["GET", "HEAD", "OPTIONS", "DELETE"]);

function randomFields(dice: Dice, most: number, prefix: string): Fields {
  const values = ["", "a", "a, b", "x=y; z", "%2f", '"quoted, text"', "~!@#$^&*()_+", "v".repeat(1 + dice.roll(300))];
  return Array.from({ length: dice.roll(most) }, () => [`${prefix}${dice.roll(6)}`, dice.pick(values)] as const);
}

function randomBody(dice: Dice): readonly Buffer[] {
  const sizes = [1, 2, 100, 1_000, 16_384, 16_385, 40_000];
  return Array.from({ length: dice.roll(4) }, () => Buffer.alloc(dice.pick(sizes), dice.roll(256)));
}

function randomCase(dice: Dice, nth: number): Case {
  const method = dice.pick(["GET", "GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH"]);
  const body = bodyless.has(method) ? [] : randomBody(dice);
  const status = dice.pick([200, 200, 201, 204, 304, 400, 404, 418, 500, 503]);
  const drawn = dice.pick(["whole", "whole", "whole", "whole", "early", "reset", "cut"] as const);
  // Without a body there is no midst of it.
  const way = drawn === "cut" && hasNoBody(method, status) ? "whole" : drawn;
  return {
    id: String(nth),
    method,
    target: dice.pick([
      "/",
      "/a/b",
      "/a%20b?c=d&e",
      "/%E2%82%AC;v=1",
      "/a//b",
      `/${"p".repeat(dice.roll(900))}`,
      "/?",
      "/a?b?c",
    ]),
    authority: dice.pick(["api", "api.shop:8080", "10.0.0.1", "[fd00::1]:80"]),
    fields: [...randomFields(dice, 6, "x-q"), ...(dice.chance(30) ? ([["cookie", "a=b; c=d"]] as const) : [])],
    body,
    trailers: body.length > 0 && dice.chance(30) ? randomFields(dice, 3, "x-t") : [],
    answer: {
      way,
      status,
      fields: randomFields(dice, 5, "x-a"),
      body: way === "cut" ? [Buffer.alloc(500, "c")] : randomBody(dice),
      trailers: dice.chance(20) ? randomFields(dice, 3, "x-e") : [],
    },
  };
}

const listed = (fields: Fields): Record<string, string | string[]> => {
  const all: Record<string, string | string[]> = {};
  for (const [name, value] of fields) {
    const before = all[name];
    all[name] = before === undefined ? value : [...[before].flat(), value];
  }
  return all;
};

const digest = (bytes: Buffer): string => `${bytes.length} ${createHash("sha1").update(bytes).digest("hex")}`;

/** Of fields that came, those that the test has sent, as one list each. */
const ours = (came: Readonly<Record<string, unknown>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(came)
      .filter(([name]) => /^(x-[qtae]\d|cookie)$/.test(name))
      .map(([name, value]) => [name, [value].flat().join(", ")] as const)
      .toSorted(),
  );

type Got = {
  readonly method: string;
  readonly url: string;
  readonly host: string;
  readonly fields: object;
  readonly body: string;
  readonly trailers: object;
};
type Application = { readonly port: number; readonly got: Map<string, Got> };
type Heard = http.IncomingMessage | http2.Http2ServerRequest;
type Reply = http.ServerResponse | http2.Http2ServerResponse;

/** node:http and node:http2 have one interface for handlers. */
async function application(protocol: "http1" | "http2", cases: ReadonlyMap<string, Case>): Promise<Application> {
  const got = new Map<string, Got>();
  const handle = async (request: Heard, reply: Reply): Promise<void> => {
    const id = String(request.headers["x-case"]);
    const { answer } = cases.get(id) ?? assert.fail(`case ${id}`);
    const breaksOff = (): void => {
      if (protocol === "http1") request.socket.resetAndDestroy();
      else (reply as http2.Http2ServerResponse).stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    };
    if (answer.way !== "early") {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      got.set(id, {
        ...{ method: request.method ?? "", url: request.url ?? "" },
        host: String(request.headers.host ?? request.headers[":authority"]),
        ...{ fields: ours(request.headers), body: digest(Buffer.concat(parts)), trailers: ours(request.trailers) },
      });
    }
    // What nobody reads would wait for minutes, and its request with it.
    if (answer.way === "early") request.resume();
    if (answer.way === "reset") return breaksOff();
    const head = listed(answer.fields);
    (reply as http.ServerResponse).writeHead(answer.status, head);
    if (hasNoBody(request.method ?? "", answer.status)) return void reply.end();
    for (const part of answer.body) (reply as http.ServerResponse).write(part);
    if (answer.way === "cut") return void setTimeout(breaksOff, 5);
    if (answer.trailers.length > 0) reply.addTrailers(listed(answer.trailers) as Record<string, string>);
    reply.end();
  };
  const listener = (request: Heard, reply: Reply): void =>
    void handle(request, reply).catch(() => {
      // A caller that has gone, or an answer that the test has broken off.
    });
  const server =
    protocol === "http1" ? http.createServer({ keepAliveTimeout: 60_000 }, listener) : http2.createServer({}, listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closedAtEnd(server);
  return { port: (server.address() as AddressInfo).port, got };
}

type Answered = {
  readonly status: number;
  readonly fields: object;
  readonly body: string;
  readonly trailers: object;
  readonly isWhole: boolean;
};

const nobody: Answered = { status: 0, fields: {}, body: "", trailers: {}, isWhole: false };

function askHttp1(port: number, agent: http.Agent, each: Case): Promise<Answered> {
  const { id, method, target, authority, fields, body, trailers } = each;
  const headers = { host: authority, "x-case": id, te: "trailers", ...listed(fields) };
  return new Promise((resolve) => {
    const request = http.request({
      ...{ host: "127.0.0.1", port, agent, method, path: target },
      headers: body.length > 0 ? { ...headers, "transfer-encoding": "chunked" } : headers,
    });
    request.on("error", () => resolve(nobody));
    request.on("response", (response) => {
      const parts: Buffer[] = [];
      response.on("error", () => {});
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("close", () =>
        resolve({
          ...{ status: response.statusCode ?? 0, fields: ours(response.headers), isWhole: response.complete },
          ...{ body: digest(Buffer.concat(parts)), trailers: ours(response.trailers) },
        }),
      );
    });
    for (const part of body) request.write(part);
    if (trailers.length > 0) request.addTrailers(listed(trailers) as Record<string, string>);
    request.end();
  });
}

async function askAsHttp2(session: http2.ClientHttp2Session, each: Case): Promise<Answered> {
  const { id, method, target, authority, fields, body, trailers } = each;
  const said = await askHttp2(session, {
    headers: {
      ...{ ":method": method, ":path": target, ":authority": authority, ":scheme": "http" },
      ...{ "x-case": id, te: "trailers", ...listed(fields) },
    },
    body,
    ...(trailers.length > 0 ? { trailers: listed(trailers) } : {}),
  });
  if (said.status === 0) return nobody;
  return {
    ...{ status: said.status, fields: ours(said.headers), isWhole: said.code === 0 },
    ...{ body: digest(said.body), trailers: ours(said.trailers) },
  };
}

/** What a request's event shows to rules. */
function shown({ method, target, authority, fields }: RequestEvent, { fields: sent }: Case): object {
  const values = [...new Set(sent.map(([name]) => name))]
    .toSorted()
    .map((name) => [name, fields.values(name).join(", ")]);
  return { method, target, authority, host: fields.values("host"), values };
}

type Recorded = Pick<RequestEnded, "outcome" | "status" | "responseBytes" | "refusal"> & { requestBytes: number };

const keyOf = ({ conn, generation, request }: RequestEnded | RequestEvent): string =>
  `${conn} ${generation} ${request}`;

const recorded = ({ outcome, status, requestBytes, responseBytes, refusal }: RequestEnded): Recorded => ({
  ...{ outcome, status, requestBytes, responseBytes, refusal },
});

test(`${wanted} random requests are alike as HTTP/1.1 and as HTTP/2 (ORLOP_SEED=${seed})`, async (t) => {
  const dice = new Dice(seed);
  const cases = new Map<string, Case>();
  const apps = { http1: await application("http1", cases), http2: await application("http2", cases) };
  const events = { http1: new Map<string, object>(), http2: new Map<string, object>() };
  const keys = { http1: new Map<string, string>(), http2: new Map<string, string>() };
  using served = serves("direct", [apps.http1.port, apps.http2.port], (event) => {
    const [id = ""] = event.fields.values("x-case");
    const each = cases.get(id) ?? assert.fail(`case ${id}`);
    events[event.protocol].set(id, shown(event, each));
    keys[event.protocol].set(id, keyOf(event));
    return to(event, event.protocol === "http1" ? 1 : 2);
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
  after(() => agent.destroy());
  using caller = h2cCaller(served.port);
  const ways = new Map<string, number>();
  const answered = new Map<string, readonly [Answered, Answered]>();
  let nth = 0;
  const some = async (): Promise<void> => {
    while (nth < wanted) {
      nth += 1;
      const each = randomCase(dice, nth);
      cases.set(each.id, each);
      answered.set(each.id, await Promise.all([askHttp1(served.port, agent, each), askAsHttp2(caller.session, each)]));
      ways.set(each.answer.way, (ways.get(each.answer.way) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  const ends = (): Map<string, RequestEnded> => new Map(endedOf(served).map((ended) => [keyOf(ended), ended]));
  const early = ends();
  for (const key of [...keys.http1.values(), ...keys.http2.values()])
    if (!early.has(key)) await served.engine.event("request-ended", (each) => keyOf(each) === key);
  const endings = ends();
  const endOf = (protocol: "http1" | "http2", id: string): RequestEnded =>
    endings.get(keys[protocol].get(id) ?? "") ?? assert.fail(`seed ${seed}: case ${id} of ${protocol} has no end`);
  for (const [id, each] of cases) {
    const { answer: said, method, target } = each;
    const words = `seed ${seed}, case ${id}: ${method} ${target}, ${said.way} ${said.status}`;
    assert.deepEqual(events.http2.get(id), events.http1.get(id), words);
    assert.deepEqual(apps.http2.got.get(id), apps.http1.got.get(id), words);
    const [one, other] = answered.get(id) ?? assert.fail(words);
    const [ended, endedOther] = [recorded(endOf("http1", id)), recorded(endOf("http2", id))];
    const { way } = each.answer;
    if (way === "whole" || way === "early") {
      assert.deepEqual(other, one, words);
      assert.ok(one.isWhole, words);
      // How much of a body that nobody waits for has come is not the request's to say.
      if (way === "early") ended.requestBytes = endedOther.requestBytes;
      assert.deepEqual(endedOther, ended, words);
      continue;
    }
    // A stream's reset goes on as that. HTTP/1.1 has none: behind the head of a response its connection ends, and before it there is an
    // answer of ours; or the connection ends, where the application's was used before and the request may not be sent again.
    assert.equal(other.isWhole, false, words);
    assert.equal(one.isWhole, one.status === 502, words);
    if (way === "cut") assert.notEqual(one.status, 502, words);
    const { outcome, requestBytes } = ended;
    assert.deepEqual([outcome, endedOther.outcome], ["reset-by-upstream", "reset-by-upstream"], words);
    assert.equal(endedOther.requestBytes, requestBytes, words);
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(ways)));
  for (const way of ["whole", "early", "reset", "cut"])
    assert.ok((ways.get(way) ?? 0) > wanted / 50, `${way}, seed ${seed}`);
});
