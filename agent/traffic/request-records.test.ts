// Each request that was begun has one record, and so has each connection, whatever happens in between: a model of the engine drives the
// room through random sessions.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Answer } from "../engine/answers.ts";
import type { ConnRef, RequestEnded } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { requestRowWidth } from "../observe/request-series.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import { Bench } from "./traffic.fake.ts";

type Outcome = RequestEnded["outcome"];
/** What the engine holds of a connection that is read. */
type Session = { readonly ref: ConnRef; begun: number; open: "no" | "open" | "websocket"; path: string };

class EngineModel {
  /** Paths that rules deny from now on, by their first segment. */
  denied = new Set<string>(["closed"]);
  faulty = false;
  readonly bench: Bench = new Bench({ settle: () => "http", readsPaths: () => true }).serve();
  readonly sessions: Session[] = [];
  /** By path, how many requests were begun: each path is asked for once. */
  readonly begun = new Map<string, number>();
  unasked = 0;
  connections = 0;

  constructor() {
    this.bench.judge = ({ request }: ConnectionFacts) => {
      if (this.faulty) throw new Error("a fault of ours");
      if (typeof request === "string") return deny("no-allow-matched");
      return this.denied.has(request.path.text.split("/")[1] ?? "") ? deny("denied-by-policy") : allow;
    };
  }

  open(way: "tunnel" | "plaintext" | "local"): void {
    const { bench } = this;
    const event =
      way === "tunnel"
        ? bench.connect("10.0.0.1:8080")
        : way === "plaintext"
          ? bench.plaintext()
          : bench.outbound({ address: "10.0.0.3", port: 80 });
    this.connections += 1;
    const answer = bench.engine.feed(event);
    if (answer?.type !== "dial") {
      bench.close(event, "refused");
      return;
    }
    assert.equal(answer.reading, "or-end");
    this.sessions.push({ ref: { conn: event.conn, generation: event.generation }, begun: 0, open: "no", path: "" });
  }

  /** The head is whole: the answer decides how it goes on. */
  begin(session: Session, kind: string): void {
    if (session.open !== "no") return;
    session.begun += 1;
    session.path = `/${kind}/${this.begun.size}`;
    this.begun.set(session.path, 1);
    session.open = "open";
    const answer = this.#ask(session);
    if (answer?.type === "reply") this.end(session, "replied", answer.status);
    else if (answer?.type === "close") this.close(session, "closed-by-answer");
    else assert.equal(answer?.type, "forward");
  }

  /** A head that nobody is asked about, or that never came whole. */
  refuse(session: Session, outcome: "refused" | "timeout"): void {
    if (session.open !== "no") return;
    session.begun += 1;
    this.unasked += 1;
    session.open = "open";
    session.path = "";
    this.end(session, outcome, 400);
    this.close(session, "finished");
  }

  end(session: Session, outcome: Outcome, status = 200): void {
    if (session.open !== "open") return;
    session.open = outcome === "upgraded" ? "websocket" : "no";
    this.bench.engine.feed({
      ...{ type: "request-ended", ...session.ref, podIdx: 1, request: session.begun, outcome, status },
      ...{
        refusal: outcome === "refused" ? "target" : "none",
        requestBytes: 1,
        responseBytes: 2,
        durationUs: 3,
        answeredUs: 0,
      },
    });
  }

  /** The engine tells the end of an open request first. `isLost`: it does not, and the slot is used again. */
  close(session: Session, cause: Parameters<Bench["close"]>[1], isLost = false): void {
    const at = this.sessions.indexOf(session);
    if (at < 0) return;
    this.sessions.splice(at, 1);
    if (isLost) {
      this.connections += 1;
      const next = { ...this.bench.plaintext(), conn: session.ref.conn, generation: session.ref.generation + 1 };
      this.bench.engine.feed(next);
      this.bench.close(next);
      return;
    }
    const outcome = cause === "reset-by-downstream" || cause === "reset-by-upstream" ? cause : "cut";
    this.end(session, outcome, 0);
    this.bench.close(session.ref, cause);
  }

  /** Policy changes, and the engine carries out what follows, in the order of the answers. */
  change(denied: readonly string[], isOld = true): void {
    this.denied = new Set(denied);
    const before = this.bench.engine.answers.length;
    this.bench.traffic.storeChanged({
      workloads: new Set(),
      authorizationPolicies: new Set(["shop/rules"]),
      peerAuthentications: new Set(),
    });
    // A request that is young is asked about later.
    if (isOld) this.bench.clock.advance(1_000);
    for (const answer of this.bench.engine.answers.slice(before)) this.#carryOut(answer);
  }

  #carryOut(answer: Answer): void {
    const session = this.sessions.find(({ ref }) => ref.conn === answer.conn && ref.generation === answer.generation);
    if (session === undefined) return;
    const asksAgain = answer.type === "ask-again" && session.open !== "no";
    const then = asksAgain ? this.#ask(session) : answer;
    if (then?.type === "close" || (asksAgain && then?.type === "reply")) this.close(session, "closed-by-answer");
  }

  #ask(session: Session): Answer | undefined {
    return this.bench.engine.feed({
      ...{
        type: "request",
        ...session.ref,
        podIdx: 1,
        request: session.begun,
        protocol: "http1",
        method: "GET",
        target: session.path,
      },
      ...{ authority: "api", fields: new RequestFields(Buffer.alloc(0), 0, 0) },
    });
  }
}

const nth = fc.nat(1_000);
const kind = fc.constantFrom("open", "closed", "late");
const step = fc.oneof(
  fc.record({ do: fc.constant("open" as const), way: fc.constantFrom("tunnel", "plaintext", "local") }),
  { weight: 5, arbitrary: fc.record({ do: fc.constant("begin" as const), nth, kind }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      nth,
      outcome: fc.constantFrom<Outcome>("answered", "upgraded", "bad-response", "timeout"),
    }),
  },
  fc.record({ do: fc.constant("refuse" as const), nth, outcome: fc.constantFrom("refused", "timeout") }),
  fc.record({
    do: fc.constant("close" as const),
    nth,
    cause: fc.constantFrom("finished", "reset-by-downstream", "reset-by-upstream", "tunnel-lost", "http-refused"),
  }),
  fc.record({ do: fc.constant("lose" as const), nth }),
  fc.record({
    do: fc.constant("change" as const),
    denied: fc.subarray(["open", "closed", "late"]),
    isOld: fc.boolean(),
  }),
  fc.record({ do: fc.constant("fault" as const), nth, kind }),
  fc.record({ do: fc.constant("drain" as const) }),
);

test("records of requests are as many as requests begun, and those of connections as many as connections", () => {
  const tally = new Map<string, number>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 80 }), (steps) => {
      const engine = new EngineModel();
      for (const way of ["tunnel", "plaintext", "local"] as const) engine.open(way);
      for (const each of steps) {
        const session = "nth" in each ? engine.sessions[each.nth % engine.sessions.length] : undefined;
        if (each.do === "open") engine.open(each.way);
        else if (each.do === "change") engine.change(each.denied, each.isOld);
        else if (each.do === "drain") engine.bench.traffic.drain(1_000, () => undefined);
        else if (session === undefined) continue;
        else if (each.do === "begin") engine.begin(session, each.kind);
        else if (each.do === "end") engine.end(session, each.outcome);
        else if (each.do === "refuse") engine.refuse(session, each.outcome);
        else if (each.do === "close") engine.close(session, each.cause);
        else if (each.do === "lose") engine.close(session, "finished", true);
        else {
          engine.faulty = true;
          if (session.open === "no") engine.begin(session, each.kind);
          else engine.change(["closed"]);
          engine.faulty = false;
        }
      }
      for (const session of [...engine.sessions]) engine.close(session, "finished");

      const { requests, ended, recorder } = engine.bench;
      const recorded = new Map<string, number>();
      for (const { path } of requests) recorded.set(path, (recorded.get(path) ?? 0) + 1);
      assert.equal(recorded.get("") ?? 0, engine.unasked);
      recorded.delete("");
      assert.deepEqual(recorded, engine.begun);
      assert.equal(ended.length, engine.connections);
      const { rows } = recorder.takeDeltas().requests;
      let counted = 0;
      for (let at = 0; at < rows.length; at += requestRowWidth + 1)
        for (let bucket = 1; bucket <= 20; bucket++) counted += rows[at + bucket] ?? 0;
      assert.equal(counted, requests.length);
      for (const { flag } of requests) tally.set(flag, (tally.get(flag) ?? 0) + 1);
    }),
    { numRuns: 400 },
  );
  // A model that never gets anywhere would prove nothing.
  for (const flag of ["-", "DC", "DPE", "LR", "SI", "UC", "UPE"] as const) assert.ok((tally.get(flag) ?? 0) > 0, flag);
});

test("a connection shows what it speaks, how many requests it has had, and the request that is open", () => {
  const engine = new EngineModel();
  engine.open("tunnel");
  const [session] = engine.sessions;
  assert.ok(session !== undefined);
  const shown = () => engine.bench.recorder.connections(1)[0]?.http;
  assert.deepEqual(shown(), { protocol: "http/1.1", requests: 0, open: null });
  engine.begin(session, "closed");
  assert.deepEqual(shown(), { protocol: "http/1.1", requests: 1, open: null });
  engine.bench.clock.nowMs = 70;
  engine.begin(session, "open");
  const open = { method: "GET", path: session.path, sinceMs: 70 };
  assert.deepEqual(shown(), { protocol: "http/1.1", requests: 2, open });
  engine.end(session, "upgraded", 101);
  assert.deepEqual(shown(), { protocol: "websocket", requests: 2, open: null });
  engine.open("plaintext");
  const other = engine.sessions[1]?.ref;
  assert.ok(other !== undefined);
  engine.bench.engine.feed({ type: "opaque", ...other });
  assert.equal(engine.bench.recorder.connections(2)[1]?.http.protocol, "opaque");
});
