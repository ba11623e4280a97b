import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FakeMesh, policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import type { ConnectionRecord, Outcome } from "../observe/record.ts";
import { Recorder } from "../observe/recorder.ts";
import { judgeOf } from "../policy/evaluate.ts";
import type { KernelEvent } from "./events.ts";
import { KernelRecords } from "./kernel-records.ts";

const web = workload("web", { addresses: ["10.0.0.1"] });
const api = workload("api", { addresses: ["10.0.0.2"] });
const event: KernelEvent = {
  type: "open",
  direction: "out",
  atMs: 1,
  podIdx: 1,
  sockCookie: 7n,
  source: { address: "10.0.0.1", port: 40_000 },
  destination: { address: "10.96.0.1", port: 80 },
  sentBytes: 0,
  receivedBytes: 0,
  durationMs: 0,
  srttUs: 0,
  retransmits: 0,
  throughAgent: false,
  outside: false,
  fromNode: false,
  joined: { address: "10.0.0.2", port: 8080 },
  reason: null,
};
const close = { ...event, type: "close", sentBytes: 10, receivedBytes: 20, durationMs: 3 } as const;

function setUp() {
  const mesh = new FakeMesh([web, api], [service("api")]);
  const logged: { readonly record: ConnectionRecord; readonly outcome: Outcome }[] = [];
  const recorder = new Recorder({
    thread: 0,
    labelSets: 10,
    now: () => 0,
    log: ({ record }, outcome) => logged.push({ record, outcome }),
  });
  const workloadOf = (podIdx: number) => (podIdx === 1 ? web : undefined);
  return { mesh, logged, recorder, records: new KernelRecords({ mesh, judge: judgeOf(mesh), recorder, workloadOf }) };
}

describe("records of joined connections", () => {
  test("one, at the dialling end: both identities, the service, who allowed it, the bytes", () => {
    const { logged, recorder, records } = setUp();
    records.handle(event);
    records.handle({ ...event, direction: "in", podIdx: 2, sockCookie: 8n });
    assert.equal(recorder.connections(9).length, 1);
    records.handle({ ...close, direction: "in", podIdx: 2, sockCookie: 8n });
    records.handle(close);
    assert.equal(logged.length, 1);
    assert.partialDeepStrictEqual(logged[0], {
      record: {
        reporter: "source",
        direction: "outbound",
        source: { workload: web, identity: web.identity },
        destination: { address: "10.0.0.2", port: 8080, workload: api, identity: api.identity },
        dialled: { address: "10.96.0.1", port: 80 },
        service: { name: "api" },
        security: "socket",
        decision: { verdict: "allow" },
      },
      outcome: { flag: "-", sentBytes: 10, receivedBytes: 20, durationUs: 3_000 },
    });
  });

  test("what nobody answers for is refused with the reason that the agent would give, and with the service", () => {
    const { logged, records } = setUp();
    const refused = { ...event, type: "refused", joined: null, reason: "connect_unanswered" } as const;
    records.handle(refused);
    records.handle({ ...refused, destination: { address: "10.96.0.1", port: 81 } });
    assert.partialDeepStrictEqual(logged, [
      {
        record: { reporter: "source", source: { workload: web }, service: { name: "api" } },
        outcome: { flag: "CONNECT", cause: "no-healthy-endpoint", early: true },
      },
      { record: { service: { name: "api" } }, outcome: { flag: "CONNECT", cause: "no-service-port", early: true } },
    ]);
  });

  test("an address that two workloads claim is refused with both names", () => {
    const { mesh, logged, records } = setUp();
    mesh.list.push(workload("rival", { addresses: api.addresses, node: "n3" }));
    const destination = { address: api.addresses[0] ?? "", port: 8080 };
    records.handle({ ...event, type: "refused", joined: null, reason: "connect_unanswered", destination });
    const message = "several workloads claim the destination address: shop/api and shop/rival";
    assert.partialDeepStrictEqual(logged, [{ outcome: { flag: "DENY", cause: "address-conflict", message } }]);
  });

  test("an end whose beginning was lost is one record, too; a failed dial is a refused one", () => {
    const { logged, records } = setUp();
    records.handle(close);
    records.handle({ ...event, type: "fail", sockCookie: 9n });
    assert.deepEqual(
      logged.map(({ outcome }) => [outcome.flag, outcome.cause]),
      [
        ["-", "finished"],
        ["CONNECT", "connect-failed"],
      ],
    );
  });

  test("ended by a change of policy: the record says by which", () => {
    const { mesh, logged, records } = setUp();
    records.handle(event);
    records.rejudge();
    mesh.policies.push(policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"])]));
    mesh.policyVersion += 1;
    records.rejudge();
    records.handle(close);
    assert.partialDeepStrictEqual(logged[0]?.outcome, {
      flag: "DENY",
      cause: "policy",
      decision: { verdict: "deny", reason: "denied-by-policy", policy: "shop/rules[0]" },
    });
  });
});

test("a captured connection is the agent's to tell of, unless nobody accepted it", () => {
  const { logged, recorder, records } = setUp();
  const captured = { ...event, throughAgent: true, joined: null };
  records.handle(captured);
  records.handle({ ...captured, type: "close" });
  assert.deepEqual([recorder.connections(9), logged], [[], []]);
  records.handle({ ...captured, type: "fail" });
  assert.equal(logged.length, 1);
  assert.partialDeepStrictEqual(logged[0], {
    record: { source: { workload: web }, destination: { address: "10.96.0.1", port: 80 } },
    outcome: { flag: "CONNECT", cause: "connect-failed", message: "the agent's listener is gone or full" },
  });
});

test("a connection of a program of the node that is let in is judged by nobody, and its record says so", () => {
  const { mesh, logged, records } = setUp();
  mesh.policies.push(policy("DENY", [ruleFor(["cluster.local/ns/shop/sa/web"])]));
  const probe = {
    ...{ ...event, direction: "in" as const, fromNode: true, joined: null },
    source: { address: "192.0.2.1", port: 40_000 },
    destination: { address: "10.0.0.1", port: 8080 },
  } as const;
  records.handle(probe);
  records.rejudge();
  records.handle({ ...probe, type: "close", sentBytes: 5 });
  assert.equal(logged.length, 1);
  assert.partialDeepStrictEqual(logged[0], {
    record: { reporter: "destination", unjudged: "node-access", decision: null, source: { identity: null } },
    outcome: { flag: "-", receivedBytes: 5 },
  });
});
