import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ConnRef, RequestEnded, RequestEvent } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import type { RequestRecord } from "../observe/request-record.ts";
import type { Settled } from "../policy/decision.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import type { Change } from "./rejudge.ts";
import { Bench } from "./traffic.fake.ts";

const policyChanged: Change = {
  workloads: new Set(),
  authorizationPolicies: new Set(["shop/rules"]),
  peerAuthentications: new Set(),
};

/** Denies every connection, and every request but those of these paths. */
class Reading {
  open: readonly string[] = ["/open"];
  settled: Settled = "http";
  readsPaths = true;
  readonly bench: Bench = new Bench({ settle: () => this.settled, readsPaths: () => this.readsPaths }).serve();
  readonly requests: readonly RequestRecord[] = this.bench.requests;

  constructor() {
    this.bench.judge = ({ request }: ConnectionFacts) =>
      typeof request !== "string" && this.open.includes(request.path.text) ? allow : deny("no-allow-matched");
  }

  ask(ref: ConnRef, request: number, target: string, fields: readonly (readonly [string, string])[] = []) {
    const { conn, generation } = ref;
    const bytes = Buffer.concat(fields.map(fieldBytes));
    const event: RequestEvent = {
      ...{
        type: "request",
        conn,
        generation,
        podIdx: 1,
        request,
        protocol: "http1",
        method: "GET",
        target,
        authority: "api",
      },
      fields: new RequestFields(bytes, 0, bytes.length),
    };
    return this.bench.engine.feed(event);
  }

  end(ref: ConnRef, request: number, outcome: "answered" | "replied" | "upgraded" = "answered"): void {
    const sizes: Pick<
      RequestEnded,
      "status" | "refusal" | "requestBytes" | "responseBytes" | "durationUs" | "answeredUs"
    > = {
      requestBytes: 1,
      responseBytes: 2,
      durationUs: 3,
      answeredUs: 0,
      refusal: "none",
      status: outcome === "replied" ? 403 : 200,
    };
    const { conn, generation } = ref;
    this.bench.engine.feed({ type: "request-ended", conn, generation, podIdx: 1, request, outcome, ...sizes });
  }
}

/** As `native/engine/http/request_event.cc` writes it. */
function fieldBytes([name, value]: readonly [string, string]): Buffer {
  const lengths = Buffer.from(Uint16Array.of(name.length, value.length).buffer);
  return Buffer.concat([lengths, Buffer.from(name + value, "latin1")]);
}

describe("a connection whose requests may be judged differently", () => {
  test("is dialled and read, from wherever it comes, and its record names no decision", () => {
    const { bench } = new Reading();
    const events = [
      bench.connect("10.0.0.1:8080"),
      bench.plaintext(),
      bench.outbound({ address: "10.0.0.3", port: 80 }),
    ];
    for (const event of events) {
      const answer = bench.engine.feed(event);
      assert.deepEqual(answer?.type === "dial" ? answer.reading : answer, "or-end");
      bench.close(event, "not-http");
      assert.equal(bench.last().record.decision, null);
      assert.deepEqual([bench.last().outcome.flag, bench.last().outcome.cause], ["DENY", "not-http"]);
    }
  });

  test("is refused where every request would be, and relayed where none would", () => {
    const reading = new Reading();
    const { bench } = reading;
    reading.settled = "deny";
    assert.equal(bench.engine.feed(bench.connect("10.0.0.1:8080"))?.type, "refuse");
    reading.settled = "allow";
    bench.judge = () => allow;
    const answer = bench.engine.feed(bench.connect("10.0.0.1:8080"));
    assert.equal(answer?.type === "dial" ? answer.reading : answer, "unread");
  });

  test("has each request judged with what the connection proved, and recorded once", () => {
    const reading = new Reading();
    const { bench, requests } = reading;
    const inbound = bench.connect("10.0.0.1:8080");
    bench.engine.feed(inbound);
    const { conn, generation } = inbound;
    assert.deepEqual(reading.ask(inbound, 1, "/open?q=1"), {
      type: "forward",
      conn,
      generation,
      request: 1,
      target: "",
      removesProxyHeaders: false,
    });
    assert.equal(bench.asked.at(-1)?.sourceIdentity?.text, "spiffe://cluster.local/ns/shop/sa/api");
    reading.end(inbound, 1);
    assert.deepEqual(reading.ask(inbound, 2, "/%6Fpen?q=1"), {
      type: "forward",
      conn,
      generation,
      request: 2,
      target: "/open?q=1",
      removesProxyHeaders: false,
    });
    reading.end(inbound, 2);
    const body = "RBAC: access denied";
    assert.deepEqual(reading.ask(inbound, 3, "/closed"), {
      type: "reply",
      conn,
      generation,
      request: 3,
      status: 403,
      body,
    });
    reading.end(inbound, 3, "replied");
    assert.deepEqual(
      requests.map(({ method, path, status, decision }) => [method, path, status, decision?.verdict]),
      [
        ["GET", "/open", 200, "allow"],
        ["GET", "/%6Fpen", 200, "allow"],
        ["GET", "/closed", 403, "deny"],
      ],
    );
  });

  test("loses other proxies' fields from the next request on, where the namespace of its destination says so", () => {
    const reading = new Reading();
    const { bench } = reading;
    const inbound = bench.connect("10.0.0.1:8080");
    bench.engine.feed(inbound);
    const sent = ["x-envoy-a", "x_envoy_b", "x-forwarded-client-cert", "x-envoyee"].map((name) => [name, "1"] as const);
    const seen = (): unknown => {
      const request = bench.asked.at(-1)?.request;
      return typeof request === "object" ? sent.filter(([name]) => request.header(name).length > 0).length : request;
    };
    const removes = (request: number): unknown => {
      const answer = reading.ask(inbound, request, "/open", sent);
      reading.end(inbound, request);
      return answer?.type === "forward" ? answer.removesProxyHeaders : answer;
    };
    assert.deepEqual([removes(1), seen()], [false, sent.length]);
    bench.mesh.list = bench.mesh.list.map((each) => ({ ...each, removesProxyHeaders: true }));
    assert.deepEqual([removes(2), seen()], [true, 1], "rules read what the application gets");
  });

  test("stays at a change that requests may pass; its open request, or its websocket, is asked about again", () => {
    const reading = new Reading();
    const { bench } = reading;
    const [idle, open, socket] = [bench.connect("10.0.0.1:8080"), bench.connect("10.0.0.1:8080"), bench.plaintext()];
    for (const event of [idle, open, socket]) bench.engine.feed(event);
    reading.ask(open, 1, "/open");
    reading.ask(socket, 1, "/open");
    reading.end(socket, 1, "upgraded");
    const before = bench.engine.answers.length;
    bench.clock.advance(1_000);
    bench.traffic.storeChanged(policyChanged);
    const asked = bench.engine.answers.slice(before);
    assert.deepEqual(
      asked.map((answer) => [answer.type, "conn" in answer && answer.conn]).sort(),
      [
        ["ask-again", open.conn],
        ["ask-again", socket.conn],
      ].sort(),
    );
    assert.equal(reading.ask(open, 1, "/open"), undefined, "still allowed");
    reading.open = [];
    assert.equal(reading.ask(open, 1, "/open")?.type, "close");
    assert.equal(reading.ask(socket, 1, "/open")?.type, "close");
    reading.settled = "deny";
    bench.traffic.storeChanged(policyChanged);
    assert.equal(bench.lastAnswer()?.type, "close");
  });

  test("200 that have an open request are asked about a part at a time, each once, and by what is in force then", () => {
    const reading = new Reading();
    const { bench } = reading;
    const open = Array.from({ length: 200 }, () => {
      const inbound = bench.connect("10.0.0.1:8080");
      bench.engine.feed(inbound);
      reading.ask(inbound, 1, "/open");
      return inbound;
    });
    bench.clock.advance(1_000);
    const before = bench.engine.answers.length;
    const asked = (): number[] =>
      bench.engine.answers.slice(before).flatMap((each) => (each.type === "ask-again" ? [each.conn] : []));
    bench.traffic.storeChanged(policyChanged);
    assert.equal(asked().length, 64);
    // What ends meanwhile is asked about no more.
    for (const each of open.slice(190)) reading.end(each, 1);
    bench.clock.advance(50);
    const expected = open.slice(0, 190).map(({ conn }) => conn);
    assert.deepEqual(asked().toSorted(), expected.toSorted());
    assert.equal(bench.clock.pending, 0);
  });

  test("is asked about a request that has just begun when it has lasted for a second, with what is in force then", () => {
    const reading = new Reading();
    const { bench } = reading;
    const inbound = bench.connect("10.0.0.1:8080");
    bench.engine.feed(inbound);
    const asksAgain = (): number => bench.engine.answers.filter(({ type }) => type === "ask-again").length;
    reading.ask(inbound, 1, "/open");
    bench.clock.advance(400);
    for (let change = 0; change < 3; change++) bench.traffic.storeChanged(policyChanged);
    bench.clock.advance(599);
    assert.equal(asksAgain(), 0);
    bench.clock.advance(1);
    assert.equal(asksAgain(), 1, "once, however often something changed");
    reading.end(inbound, 1);

    reading.ask(inbound, 2, "/open");
    bench.traffic.storeChanged(policyChanged);
    reading.end(inbound, 2);
    bench.clock.advance(500);
    reading.ask(inbound, 3, "/open");
    bench.traffic.storeChanged(policyChanged);
    bench.clock.advance(999);
    assert.equal(asksAgain(), 1, "the request before has ended by itself");
    bench.clock.advance(1);
    assert.equal(asksAgain(), 2, "a change after it bears on the next request");
  });

  test("ends when it was opened unread, was only watched, or has turned out not to be HTTP", () => {
    const reading = new Reading();
    const { bench } = reading;
    const { judge } = bench;
    bench.judge = () => allow;
    reading.settled = "allow";
    const unread = bench.connect("10.0.0.1:8080");
    bench.engine.feed(unread);
    // AUDIT alone asks for reading: what is no HTTP passes.
    reading.settled = "http";
    const opaque = bench.connect("10.0.0.1:9090");
    const answer = bench.engine.feed(opaque);
    assert.equal(answer?.type === "dial" ? answer.reading : answer, "or-pass");
    bench.engine.feed({ type: "opaque", conn: opaque.conn, generation: 1 });
    bench.traffic.storeChanged(policyChanged);
    assert.equal(bench.lastAnswer()?.type, "dial", "both are allowed whatever they ask");
    const watched = bench.connect("10.0.0.1:9090");
    bench.engine.feed(watched);
    bench.judge = judge;
    bench.traffic.storeChanged(policyChanged);
    const closes = bench.engine.answers.filter(({ type }) => type === "close").map(({ conn }) => conn);
    assert.deepEqual(closes.sort(), [unread.conn, opaque.conn, watched.conn].sort());
    bench.close(unread, "closed-by-answer");
    assert.equal(bench.last().outcome.cause, "http-required");
  });

  test("ends when its open request cannot be judged again, or went on in words that rules have not read", () => {
    const reading = new Reading();
    const { bench } = reading;
    const [failing, unread] = [bench.connect("10.0.0.1:8080"), bench.connect("10.0.0.1:8080")];
    for (const event of [failing, unread]) bench.engine.feed(event);
    reading.ask(failing, 1, "/open");
    reading.readsPaths = false;
    const first = reading.ask(unread, 1, "/%6Fpen");
    assert.equal(first?.type === "forward" && first.target, "", "as it was sent");
    reading.readsPaths = true;
    assert.equal(reading.ask(unread, 1, "/%6Fpen")?.type, "close");
    bench.judge = () => {
      throw new Error("a fault of ours");
    };
    assert.equal(reading.ask(failing, 1, "/open")?.type, "close");
  });

  test("gets 503 when its workload has gone, and 500 for a fault of ours", () => {
    const reading = new Reading();
    const { bench } = reading;
    const inbound = bench.connect("10.0.0.1:8080");
    bench.engine.feed(inbound);
    bench.judge = () => {
      throw new Error("a fault of ours");
    };
    const failed = reading.ask(inbound, 1, "/open");
    assert.equal(failed?.type === "reply" && failed.status, 500);
    assert.equal(bench.faults.length, 1);
    bench.mesh.list = [];
    const gone = reading.ask(inbound, 2, "/open");
    assert.equal(gone?.type === "reply" && gone.status, 503);
    const unknown = reading.ask({ conn: 9_999, generation: 1 }, 1, "/open");
    assert.equal(unknown?.type === "reply" && unknown.status, 500);
  });
});
