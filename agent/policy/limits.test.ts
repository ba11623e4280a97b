import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import { evaluatorOf } from "./evaluate.ts";
import { judgeRequest } from "./judge-request.ts";
import { LimitCells } from "./limit-cells.ts";
import { RequestLimits, withLimits } from "./limits.ts";
import {
  condition,
  facts,
  identity,
  limit,
  operation,
  plaintext,
  policy,
  request,
  rule,
  source,
  text,
  workload,
} from "./policy.fake.ts";

const SECOND = 1_000_000_000n;

/** RequestLimits of shop/api on a clock that tests move, judged as a request is. */
class Judged {
  nowNs = SECOND;
  readonly evaluator: ReturnType<typeof evaluatorOf>;
  readonly #limits = new RequestLimits(() => this.nowNs);

  constructor(limitPolicies: readonly LimitPolicy[], authorizationPolicies: readonly ReturnType<typeof policy>[] = []) {
    this.evaluator = evaluatorOf({
      ...{ policyVersion: 1, rootNamespace: "istio-system", trustDomain: "cluster.local" },
      authorizationPoliciesFor: () => authorizationPolicies,
      peerAuthenticationsFor: () => [],
      limitPoliciesFor: () => limitPolicies,
    });
  }

  of(asked: Partial<RequestFacts> = {}, connection: Partial<ConnectionFacts> = {}) {
    const of = facts(connection);
    const what = { ...request({}), ...asked };
    const verdict = judgeRequest(of, what, this.evaluator);
    if (verdict.verdict === "deny") return verdict;
    return withLimits(verdict, this.#limits.judgeBy(this.evaluator.limitsOf)(of, what));
  }

  /** Of so many requests at once. */
  admitted(count: number, asked: Partial<RequestFacts> = {}, connection: Partial<ConnectionFacts> = {}): number {
    return Array.from({ length: count }, () => this.of(asked, connection)).filter((each) => each.verdict === "allow")
      .length;
  }
}

test("what is over is answered 429 with the seconds after which it would be admitted, and names the limit", () => {
  const judged = new Judged([limit("all", { requests: 1, unitMs: 60_000, burst: 2 })]);
  assert.equal(judged.admitted(2), 2);
  judged.nowNs += SECOND / 2n;
  const over = judged.of();
  assert.ok(over.verdict === "deny");
  assert.equal(over.reason, "limited");
  assert.deepEqual(over.answer, {
    ...{ status: 429, body: "local_rate_limited" },
    headers: [{ op: "set", name: "retry-after", value: "60" }],
  });
  assert.equal(over.decidedBy?.name, "all");
  assert.equal(over.layer, "L7");
  judged.nowNs += 60n * SECOND;
  assert.equal(judged.admitted(5), 1);
});

test("each workload's requests are counted for themselves, and those of each key", () => {
  const one = { requests: 1, burst: 1 };
  const api = { destination: workload({}) };
  const other = { destination: workload({ uid: "c//Pod/shop/api-2" }) };
  const ofPod = new Judged([limit("pod", one)]);
  assert.deepEqual([ofPod.admitted(3, {}, api), ofPod.admitted(3, {}, other)], [1, 1]);

  const web = { sourceIdentity: identity("cluster.local/ns/shop/sa/web") };
  const batch = { sourceIdentity: identity("cluster.local/ns/shop/sa/batch") };
  const bySource = new Judged([limit("source", { ...one, per: [{ by: "source" }] })]);
  assert.deepEqual([bySource.admitted(3, {}, web), bySource.admitted(3, {}, batch)], [1, 1]);
  // Callers in plaintext share a key, whatever their addresses.
  assert.equal(bySource.admitted(1, {}, { ...plaintext, sourceAddress: "10.0.0.8" }), 1);
  assert.equal(bySource.admitted(3, {}, { ...plaintext, sourceAddress: "10.0.0.9" }), 0);

  const byUser = new Judged([limit("user", { ...one, per: [{ by: "header", name: "x-user" }, { by: "method" }] })]);
  const as = (user: string, method = "GET") => request({ method, headers: { "x-user": [user] } });
  assert.deepEqual(
    [byUser.admitted(3, as("a")), byUser.admitted(3, as("b")), byUser.admitted(3, as("a", "POST"))],
    [1, 1, 1],
  );
  assert.equal(byUser.admitted(3, request({})), 1, "who sends no such field shares a key");
});

test("a limit counts what its match names, and a spelling that nobody can read for certain counts, too", () => {
  const match = rule({ operations: [operation({ methods: [text("POST")], paths: [text("/dear/*")] })] });
  const judged = new Judged([limit("dear", { requests: 1, burst: 1, match })]);
  assert.equal(judged.admitted(3, request({ target: "/cheap" })), 3);
  assert.equal(judged.admitted(3, request({ target: "/dear/a" })), 3, "a GET");
  assert.equal(judged.admitted(3, request({ method: "POST", target: "/dear/a" })), 1);
  assert.equal(judged.admitted(1, request({ method: "post", target: "/dear/b" })), 0);
  assert.equal(judged.admitted(1, request({ method: "POST", target: "/cheap/%2e%2e%2fdear/a" })), 0);
  const header = rule({ when: [condition("request.headers[x-tier]", { http: true, strings: [text("free")] })] });
  const free = new Judged([limit("free", { requests: 1, burst: 1, match: header })]);
  assert.equal(free.admitted(3, request({ headers: { "x-tier": ["free"] } })), 1);
  assert.equal(free.admitted(3, request({ headers: { "x-tier": ["paid", "free"] } })), 0, "any of the fields");
  assert.equal(free.admitted(3, request({})), 3);
  const from = rule({ sources: [source({ principals: [text("*/sa/batch")] })] });
  const batch = new Judged([limit("batch", { requests: 1, burst: 1, match: from })]);
  assert.equal(batch.admitted(3), 3);
  assert.equal(batch.admitted(3, {}, { sourceIdentity: identity("cluster.local/ns/shop/sa/batch") }), 1);
});

test("a request that a later limit refuses costs the limits before it nothing; the highest priority is judged first", () => {
  const judged = new Judged([
    limit("whole", { requests: 100, burst: 100, priority: 9 }),
    limit("user", { requests: 1, burst: 1, priority: 1, per: [{ by: "header", name: "x-user" }] }),
  ]);
  const as = (user: string) => request({ headers: { "x-user": [user] } });
  assert.equal(judged.admitted(1_000, as("noisy")), 1);
  let others = 0;
  for (let user = 0; user < 200; user += 1) others += judged.admitted(1, as(`user ${user}`));
  assert.equal(others, 99);
});

test("shadow counts and reports, and refuses nothing; standby does neither; neither is a denial", () => {
  const judged = new Judged([
    limit("later", { requests: 1, burst: 1, mode: "shadow" }),
    limit("ready", { requests: 1, burst: 1, mode: "standby" }),
  ]);
  const [first, second] = [judged.of(), judged.of()];
  assert.ok(first.verdict === "allow" && second.verdict === "allow");
  assert.deepEqual(first.dryRunDenied, []);
  assert.deepEqual(
    second.dryRunDenied.map(({ kind, name }) => `${kind} ${name}`),
    ["LimitPolicy later"],
  );
});

test("what policy denies is not counted", () => {
  const deny = policy("no-post", {
    action: "DENY",
    rules: [rule({ operations: [operation({ methods: [text("POST")] })] })],
  });
  const judged = new Judged([limit("all", { requests: 1, burst: 1 })], [deny]);
  assert.equal(judged.admitted(9, request({ method: "POST" })), 0);
  assert.equal(judged.admitted(3), 1);
});

test("a connection with a request that would be counted is read; one on which nobody reads is refused, and shadow only watches", () => {
  const settle = (mode: LimitPolicy["mode"], match = rule({})) => {
    const { evaluator } = new Judged([limit("a", { mode, match })]);
    const decision = evaluator.judge(facts({}));
    return [evaluator.settle(facts({})), decision.verdict, evaluator.httpNeed(workload({}), 8080).isRead];
  };
  assert.deepEqual(settle("enforce"), ["http", "deny", true]);
  assert.deepEqual(settle("shadow"), ["http", "allow", true]);
  assert.deepEqual(settle("standby"), ["allow", "allow", false]);
  const elsewhere = rule({ operations: [operation({ ports: [9090] })] });
  assert.deepEqual(settle("enforce", elsewhere), ["allow", "allow", false]);
  const ofPath = rule({ operations: [operation({ ports: [8080], paths: [text("/a")] })] });
  assert.deepEqual(settle("enforce", ofPath), ["http", "deny", true]);
  const { evaluator } = new Judged([limit("a", {})], [policy("nobody", { rules: [] })]);
  assert.equal(evaluator.settle(facts({})), "deny");
});

test("two threads that have the same buckets are one limit; without buckets a thread has its own, and no request is free", () => {
  const [policies, buffer] = [[limit("all", { requests: 1, burst: 3 })], LimitCells.buffer()];
  const { evaluator } = new Judged(policies);
  const threads = [new RequestLimits(() => SECOND), new RequestLimits(() => SECOND)];
  for (const thread of threads) thread.setCells("shop/all", buffer);
  const admitted = (of: RequestLimits): number =>
    Array.from({ length: 5 }, () => of.judgeBy(evaluator.limitsOf)(facts({}), request({}))).filter(
      ({ over }) => over === null,
    ).length;
  assert.equal(
    threads.map(admitted).reduce((sum, each) => sum + each),
    3,
  );
  assert.equal(admitted(new RequestLimits(() => SECOND)), 3);
});
