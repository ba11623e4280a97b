// A place among the requests under way is given back exactly once, whichever way a request ends: answered, retried, delayed by a fault, cut with its
// connection, or by an exception anywhere beneath the agent's code. The same of the probe of an endpoint.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import type { Answer } from "../engine/answers.ts";
import type { ConnRef, EngineEvent, RequestEnded } from "../engine/events.ts";
import { RequestFields } from "../engine/request-fields.ts";
import { FakeMesh, httpRoute, routeBackend, service, workload } from "../mesh/mesh.fake.ts";
import { nowhere } from "../mesh/source-ref.ts";
import type { TrafficPolicy } from "../mesh/traffic-policy.ts";
import { Recorder } from "../observe/recorder.ts";
import { EjectionCells } from "./ejection-cells.ts";
import { newSharedState, type SharedState } from "./shared-state.ts";
import { Bench, near, web } from "./traffic.fake.ts";
import { UnderWayCells } from "./under-way-cells.ts";

const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const CAP = 4;
const traffic: TrafficPolicy = {
  outliers: { consecutive5xx: 2, consecutiveGateway: 0, baseMs: 50, maxEjected: 100, minHealthy: 0 },
  ...{ maxRequests: CAP, hash: null, balance: null, warmUp: null, from: nowhere },
};
const vip = { address: "10.96.0.1", port: 80 };
const quiet = { requestBytes: 1, responseBytes: 2, durationUs: 3, answeredUs: 2, refusal: "none" } as const;

/** A connection as its engine has it. */
type Session = {
  readonly ref: ConnRef;
  readonly protocol: "http1" | "http2";
  last: number;
  /** Requests that have no end yet, and how: their answer is awaited, they are at an origin, or a try of theirs has failed. */
  readonly open: Map<number, "asked" | "sent" | "failed">;
};

class World {
  readonly bench: Bench;
  readonly sessions: Session[] = [];
  injected = 0;
  /** Of each call of what is injected. */
  odds = 0;
  readonly #random: () => number;

  constructor(random: () => number, shared: SharedState) {
    this.#random = random;
    const mesh = new FakeMesh(
      [
        web,
        near,
        ...[1, 2].map((nth) =>
          workload(`api-${nth}`, { addresses: [`10.0.1.${nth}`], node: "n2", labels: { app: "api" } }),
        ),
      ],
      [service("api", { traffic })],
    );
    const rules = { retry: { codes: [503], attempts: 2, backoffMs: 1 }, backends: [routeBackend("shop/api")] };
    const fault = { expiresMs: 2 ** 50, delay: { fixed: 5, percent: 10 }, abort: null, reset: { percent: 5 } };
    mesh.routes.push(httpRoute("shop/api", {}, { ...rules, fault }));
    let now = (): number => 0;
    const recorder = new Recorder({
      ...{ thread: 0, labelSets: 100, now: () => now(), log: () => undefined },
      logRequest: () => this.#mayThrow("logRequest"),
    });
    this.bench = new Bench({
      ...{ mesh: this.#throwing(mesh), recorder: this.#throwing(recorder) },
      ...{ settle: () => "http", readsPaths: () => true, wallMs: () => 0 },
      among: { thread: 0, threads: 2, shared },
      random: this.#throws("random", random),
      limits: this.#throws("limits", () => ({ over: null, shadowed: [] })),
      origins: {
        define: this.#throws("define", (origin) => this.bench.engine.defineOrigin(origin)),
        drop: this.#throws("drop", (origin) => this.bench.engine.dropOrigin(origin)),
      },
    });
    now = () => this.bench.clock.nowMs;
    this.bench.serve();
  }

  #mayThrow(what: string): void {
    if (this.odds === 0 || this.#random() >= this.odds) return;
    this.injected += 1;
    throw new Error(`injected in ${what}`);
  }

  #throws<Args extends readonly unknown[], Made>(what: string, call: (...args: Args) => Made): (...args: Args) => Made {
    return (...args) => {
      this.#mayThrow(what);
      return call(...args);
    };
  }

  /** Each method of it may throw in the place of doing anything. */
  #throwing<T extends object>(of: T): T {
    return new Proxy(of, {
      get: (target, name) => {
        const found: unknown = Reflect.get(target, name, target);
        if (typeof found !== "function") return found;
        return (...args: unknown[]) => {
          this.#mayThrow(String(name));
          const made: unknown = found.apply(target, args);
          // Records of connections are called later.
          return name === "opened" ? this.#throwing(made as object) : made;
        };
      },
    });
  }

  pick<T>(of: readonly T[]): T | undefined {
    return of[Math.floor(this.#random() * of.length)];
  }

  step(): void {
    const session = this.pick(this.sessions);
    const isNew = session === undefined || (this.sessions.length < 6 && this.#random() < 0.1);
    if (isNew) this.#connect();
    else this.#goOn(session);
  }

  #goOn(session: Session): void {
    const [request, phase] = this.pick([...session.open]) ?? [0, "none"];
    const roll = this.#random();
    if (roll < 0.4 && (session.protocol === "http2" ? session.open.size < 8 : session.open.size === 0))
      this.#ask(session, ++session.last);
    else if (roll < 0.45) this.close(session);
    else if (roll < 0.55) this.bench.clock.advance(Math.floor(this.#random() * 40));
    else if (phase === "sent" && roll < 0.75) this.#fail(session, request);
    else if (phase === "failed") this.#again(session, request);
    else if (phase === "sent") this.end(session, request, this.pick(["answered", "reset-by-downstream", "deadline"]));
  }

  /** As `BatchEngine` does: an exception that the agent's last words throw is reported, and the engine waits for an answer in vain. */
  #feed(event: EngineEvent): Answer | undefined | "fault" {
    try {
      return this.bench.engine.feed(event);
    } catch {
      return "fault";
    }
  }

  #connect(): void {
    const event = this.bench.outbound(vip);
    const answer = this.#feed(event);
    const protocol = this.#random() < 0.5 ? "http1" : "http2";
    const session: Session = { ref: event, protocol, last: 0, open: new Map() };
    this.sessions.push(session);
    if (answer === "fault" || answer?.type !== "serve") this.close(session);
  }

  #ask(session: Session, request: number): void {
    session.open.set(request, "asked");
    const { conn, generation } = session.ref;
    const asked = {
      podIdx: 1,
      request,
      protocol: session.protocol,
      method: "GET",
      target: "/",
      authority: "api",
    } as const;
    const fields = new RequestFields(Buffer.alloc(0), 0, 0);
    this.#does(session, request, this.#feed({ type: "request", conn, generation, ...asked, fields }));
  }

  #fail(session: Session, request: number): void {
    session.open.set(request, "failed");
    this.#again(session, request);
  }

  #again(session: Session, request: number): void {
    const { conn, generation } = session.ref;
    const failed = this.pick([
      { failure: "status", status: 503, cause: null, isSent: true },
      { failure: "lost", status: 0, cause: null, isSent: true },
      { failure: "not-reached", status: 111, cause: "connect-failed", isSent: false },
    ] as const);
    const asked = {
      podIdx: 1,
      request,
      protocol: session.protocol,
      method: "GET",
      target: "/",
      authority: "api",
    } as const;
    const fields = new RequestFields(Buffer.alloc(0), 0, 0);
    if (failed === undefined) return;
    const event = { type: "try-failed", conn, generation, ...asked, durationUs: 1, fields, ...failed } as const;
    this.#does(session, request, this.#feed(event));
  }

  /** As the engine does with an answer. */
  #does(session: Session, request: number, answer: Answer | undefined | "fault"): void {
    if (answer === "fault") this.end(session, request, "timeout");
    else if (answer === undefined) this.#delayed(session, request);
    else if (answer.type === "forward") session.open.set(request, "sent");
    else if (answer.type === "reply") this.end(session, request, "replied");
    else if (answer.type === "pass") this.end(session, request, "answered");
    else if (answer.type === "reset" && session.protocol === "http2") this.end(session, request, "cut");
    else if (answer.type !== "hold") this.close(session);
  }

  /** By its rule's fault: it comes again, or its caller has gone before. */
  #delayed(session: Session, request: number): void {
    if (this.#random() < 0.5) this.bench.clock.advance(5);
    if (this.#random() < 0.8) this.#ask(session, request);
    else this.end(session, request, "reset-by-downstream");
  }

  end(session: Session, request: number, outcome: RequestEnded["outcome"] = "answered"): void {
    session.open.delete(request);
    const { conn, generation } = session.ref;
    const status = outcome === "answered" ? (this.pick([200, 200, 503]) ?? 200) : 0;
    this.#feed({ type: "request-ended", conn, generation, podIdx: 1, request, outcome, status, ...quiet });
  }

  close(session: Session): void {
    // Most often the engine says the end of each request before.
    if (this.#random() < 0.9) for (const request of [...session.open.keys()]) this.end(session, request, "cut");
    this.sessions.splice(this.sessions.indexOf(session), 1);
    const nothing = { detail: 0, message: "", sentBytes: 5, receivedBytes: 7, durationUs: 900 };
    const { conn, generation } = session.ref;
    this.#feed({ type: "closed", conn, generation, cause: "closed-by-answer", ...nothing });
  }

  get sent(): number {
    return this.sessions.reduce((sum, { open }) => sum + [...open.values()].filter((how) => how !== "asked").length, 0);
  }
}

test(`100,000 steps with exceptions in the midst of them: nothing that was taken is kept, or given back twice (seed ${seed})`, () => {
  const random = seeded(seed);
  let injected = 0;
  for (let round = 0; round < 50; round += 1) {
    const shared = newSharedState(2);
    const cells = new UnderWayCells(shared.underWay, 2);
    const key = cells.keyOf(`${web.identity.text}\0shop/api:80`);
    const world = new World(random, shared);
    world.odds = round % 5 === 0 ? 0 : 0.02;
    for (let step = 0; step < 2_000; step += 1) {
      world.step();
      const underWay = cells.underWay(key);
      const most = Math.min(CAP, world.sent);
      assert.ok(underWay >= 0 && underWay <= most, `seed ${seed} round ${round} step ${step}: ${underWay} of ${most}`);
      if (world.odds === 0) assert.equal(underWay, most, `seed ${seed} round ${round} step ${step}`);
    }
    for (const session of [...world.sessions]) world.close(session);
    assert.equal(cells.underWay(key), 0, `seed ${seed} round ${round}`);
    // Who would be probed still, is so by nobody.
    world.odds = 0;
    const out = [...world.bench.traffic.ejected(100)].filter(({ reason }) => reason === "probed");
    assert.deepEqual(out, [], `seed ${seed} round ${round}`);
    injected += world.injected;
    assert.ok(new EjectionCells(shared.ejections).counts.probes > 0, "probes were under way");
  }
  assert.ok(injected > 1_000, `${injected} exceptions`);
});
