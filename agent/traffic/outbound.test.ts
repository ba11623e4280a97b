import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { streamRoute, workload } from "../mesh/mesh.fake.ts";
import { deny } from "../policy/policy.fake.ts";
import { api, Bench, near, web } from "./traffic.fake.ts";

describe("a captured connection", () => {
  test("to a service on another node becomes a tunnel", () => {
    const bench = new Bench().serve();
    const event = bench.outbound({ address: "10.96.0.1", port: 80 });
    const answer = bench.engine.feed(event);
    assert.ok(answer?.type === "tunnel");
    assert.deepEqual(answer.to, { address: "10.0.0.2", port: 15_008 });
    assert.equal(answer.identity, 11);
    assert.equal(answer.authority, "10.0.0.2:8080");
    assert.equal(answer.forwarded, 'for="10.0.0.1:40000";host=api.shop.svc.cluster.local');
    assert.match(answer.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    assert.match(
      answer.baggage,
      /^k8s\.cluster\.name=box,k8s\.namespace\.name=shop,k8s\.pod\.name=web,service\.name=web/,
    );
    assert.equal(bench.asked.length, 0, "policy is the destination's to judge");

    bench.engine.feed({
      ...event,
      type: "established",
      upstream: { address: "10.0.0.2", port: 15_008 },
      elapsedUs: 1,
      baggage: "",
    });
    bench.close(event);
    const { record, outcome } = bench.last();
    assert.equal(record.reporter, "source");
    assert.equal(record.source.identity?.text, web.identity.text);
    assert.equal(record.destination.identity?.text, api.identity.text);
    assert.equal(record.destination.workload?.uid, api.uid);
    assert.deepEqual(record.hbone, { address: "10.0.0.2", port: 8080 });
    assert.deepEqual(record.dialled, { address: "10.96.0.1", port: 80 });
    assert.equal(record.service?.hostname, "api.shop.svc.cluster.local");
    assert.equal(record.security, "mtls");
    assert.equal(record.traceId.length, 32);
    assert.deepEqual(outcome, {
      flag: "-",
      cause: "finished",
      message: "",
      sentBytes: 5,
      receivedBytes: 7,
      durationUs: 900,
    });
  });

  test("equal expectations share an integer, others do not", () => {
    const bench = new Bench().serve();
    const [one, two, other] = [
      { address: "10.96.0.1", port: 80 },
      { address: "10.0.0.2", port: 9999 },
      { address: "10.0.0.5", port: 80 },
    ].map((to) => {
      bench.mesh.replace(workload("other", { addresses: ["10.0.0.5"] }));
      const answer = bench.engine.feed(bench.outbound(to));
      return answer?.type === "tunnel" ? answer.expect : -1;
    });
    assert.equal(one, two);
    assert.notEqual(one, other);
  });

  test("to a pod of this node is judged here and dialled from the client's address, if that pod can", () => {
    const bench = new Bench().serve();
    const there = bench.outbound({ address: "10.0.0.3", port: 8080 });
    assert.deepEqual(bench.engine.feed(there), {
      type: "dial",
      conn: there.conn,
      generation: 1,
      podIdx: 2,
      to: { address: "10.0.0.3", port: 8080 },
      from: null,
      baggage: "",
      reading: "unread",
      reportsNotReached: true,
    });
    const [facts] = bench.asked;
    assert.equal(facts?.security, "socket");
    assert.equal(facts?.sourceIdentity?.text, web.identity.text);
    assert.equal(facts?.destination.uid, near.uid);

    const back = bench.outbound(
      { address: "10.0.0.1", port: 8080 },
      { podIdx: 2, source: { address: "10.0.0.3", port: 1 } },
    );
    const answer = bench.engine.feed(back);
    assert.deepEqual(answer?.type === "dial" ? answer.from : null, { address: "10.0.0.3", port: 1 });
    bench.close(back);
    assert.equal(bench.last().record.security, "socket");
    assert.equal(bench.last().record.decision?.verdict, "allow");
  });

  test("to a pod of this node that policy denies is refused, with both identities and the reason", () => {
    const bench = new Bench().serve();
    bench.judge = () => deny("no-allow-matched");
    const event = bench.outbound({ address: "10.0.0.3", port: 8080 });
    assert.deepEqual(bench.engine.feed(event), { type: "refuse", conn: event.conn, generation: 1, status: 401 });
    bench.close(event, "refused");
    const { record, outcome } = bench.last();
    assert.equal(outcome.flag, "DENY");
    assert.equal(outcome.cause, "policy");
    assert.equal(record.decision?.reason, "no-allow-matched");
    assert.equal(record.source.identity?.text, web.identity.text);
    assert.equal(record.destination.identity?.text, near.identity.text);
  });

  test("to an address that two workloads claim is refused, and both are named", () => {
    const bench = new Bench().serve();
    bench.mesh.list.push(workload("rival", { addresses: ["10.0.0.2"], node: "n3" }));
    const event = bench.outbound({ address: "10.0.0.2", port: 8080 });
    assert.deepEqual(bench.engine.feed(event), { type: "refuse", conn: event.conn, generation: 1, status: 503 });
    bench.close(event, "refused");
    const { cause, message } = bench.last().outcome;
    assert.equal(cause, "address-conflict");
    assert.equal(message, "several workloads claim the destination address: shop/api and shop/rival");
  });

  test("to nobody of the mesh passes through", () => {
    const bench = new Bench().serve();
    const event = bench.outbound({ address: "8.8.8.8", port: 443 });
    assert.deepEqual(bench.engine.feed(event), {
      type: "relay",
      conn: event.conn,
      generation: 1,
      to: { address: "8.8.8.8", port: 443 },
    });
    bench.close(event);
    assert.equal(bench.last().record.security, "none");
    assert.equal(bench.last().record.destination.identity, null);
  });

  test("passthrough needs no certificate", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    assert.equal(bench.engine.feed(bench.outbound({ address: "8.8.8.8", port: 443 }))?.type, "relay");
  });

  test("a pod that begins is known by the addresses of its namespace until the mesh has them", () => {
    const bench = new Bench();
    const mesh = bench.mesh.list;
    bench.mesh.list = mesh.map((each) => (each.uid === web.uid ? { ...each, addresses: [] } : each));
    const asked = () => bench.engine.feed(bench.outbound({ address: "8.8.8.8", port: 443 }))?.type;
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: ["10.9.9.9"], preservesSource: true });
    assert.equal(asked(), "refuse", "another's address");
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: web.addresses, preservesSource: true });
    assert.equal(asked(), "relay");
    bench.mesh.list = mesh.map((each) => (each.uid === web.uid ? { ...each, addresses: ["10.0.0.77"] } : each));
    assert.equal(asked(), "refuse", "the mesh has the last word");
  });

  const refusals: readonly (readonly [string, Parameters<Bench["outbound"]>, string, string])[] = [
    ["no original destination", [null], "no-original-destination", "DENY"],
    ["a pod nobody serves", [{ address: "8.8.8.8", port: 1 }, { podIdx: 9 }], "unknown-pod", "DENY"],
    [
      "an address that is not the pod's",
      [{ address: "10.0.0.2", port: 1 }, { source: { address: "10.0.0.2", port: 1 } }],
      "unknown-source",
      "DENY",
    ],
    ["an own port", [{ address: "10.0.0.2", port: 15_008 }], "own-port", "DENY"],
    ["an own port on loopback", [{ address: "127.0.0.1", port: 15_001 }], "self-call", "DENY"],
    ["a VIP without the port", [{ address: "10.96.0.1", port: 81 }], "no-service-port", "CONNECT"],
  ];
  for (const [what, [destination, given], cause, flag] of refusals) {
    test(`${what} is refused: ${cause}`, () => {
      const bench = new Bench().serve();
      const event = bench.outbound(destination, given);
      assert.equal(bench.engine.feed(event)?.type, "refuse");
      bench.close(event, "refused");
      assert.equal(bench.last().outcome.cause, cause);
      assert.equal(bench.last().outcome.flag, flag);
      assert.notEqual(bench.last().outcome.message, "");
      assert.equal(bench.ended.length, 1);
    });
  }

  test("a spoofed source carries the decision unknown-source", () => {
    const bench = new Bench().serve();
    const event = bench.outbound({ address: "8.8.8.8", port: 1 }, { source: { address: "10.0.0.3", port: 1 } });
    bench.engine.feed(event);
    bench.close(event, "refused");
    assert.equal(bench.last().record.decision?.reason, "unknown-source");
  });
});

test("connections that stay open spread over the endpoints, and one that ends makes room", () => {
  const bench = new Bench().serve();
  const second = workload("api-2", { addresses: ["10.0.0.22"], node: "n2", labels: { app: "api" } });
  bench.mesh.replace(second);
  const reached = (): string => {
    const event = bench.outbound({ address: "10.96.0.1", port: 80 });
    const answer = bench.engine.feed(event);
    assert.ok(answer?.type === "tunnel");
    open.push({ event, address: answer.to.address });
    return answer.to.address;
  };
  const open: { readonly event: ReturnType<Bench["outbound"]>; readonly address: string }[] = [];
  for (let count = 0; count < 20; count += 1) reached();
  assert.equal(open.filter((one) => one.address === "10.0.0.2").length, 10);
  for (const { event, address } of open) if (address === "10.0.0.22") bench.close(event);
  assert.deepEqual(
    new Set(Array.from({ length: 10 }, reached)),
    new Set(["10.0.0.22"]),
    "the idle one takes all until it has as many",
  );
});

describe("an answer that is not ready", () => {
  test("waits for the certificate, then tunnels", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    const event = bench.outbound({ address: "10.0.0.2", port: 80 });
    assert.equal(bench.engine.feed(event), undefined);
    bench.clock.advance(4_999);
    assert.equal(bench.engine.answers.length, 0);
    assert.deepEqual(bench.traffic.identityInstalled(11, web.identity.text), [1]);
    assert.equal(bench.lastAnswer()?.type, "tunnel");
    assert.equal(bench.clock.pending, 0, "no timer is left behind");
    bench.close(event);
    assert.equal(bench.ended.length, 1);
  });

  test("is refused after five seconds", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    const event = bench.outbound({ address: "10.0.0.2", port: 80 });
    bench.engine.feed(event);
    bench.clock.advance(5_000);
    assert.equal(bench.lastAnswer()?.type, "refuse");
    bench.close(event, "refused");
    assert.equal(bench.last().outcome.cause, "no-certificate");
    assert.equal(bench.last().outcome.flag, "IDENTITY_ERROR");
    bench.traffic.identityInstalled(11, web.identity.text);
    assert.equal(bench.engine.answers.length, 1, "nothing is answered twice");
  });

  test("that the engine stops waiting for first has the same reason", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    const event = bench.outbound({ address: "10.0.0.2", port: 80 });
    bench.engine.feed(event);
    bench.close(event, "answer-timeout");
    assert.equal(bench.last().outcome.cause, "no-certificate");
    bench.clock.advance(5_000);
    assert.equal(bench.engine.answers.length, 0);
  });

  test("waits for the pod's workload", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 5, workloadUid: "box//Pod/shop/late", addresses: [], preservesSource: true });
    const event = bench.outbound(
      { address: "8.8.8.8", port: 80 },
      { podIdx: 5, source: { address: "10.0.0.7", port: 1 } },
    );
    assert.equal(bench.engine.feed(event), undefined);
    const late = workload("late", { addresses: ["10.0.0.7"] });
    bench.mesh.replace(late);
    bench.traffic.storeChanged({
      workloads: new Set([late.uid]),
      authorizationPolicies: new Set(),
      peerAuthentications: new Set(),
    });
    assert.equal(bench.lastAnswer()?.type, "relay");
  });

  test("that cannot be given because of a fault of ours is a refusal", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 2, workloadUid: near.uid, addresses: [], preservesSource: true });
    bench.traffic.addPod({ podIdx: 5, workloadUid: "box//Pod/shop/late", addresses: [], preservesSource: true });
    const source = { address: "10.0.0.7", port: 1 };
    const event = bench.outbound({ address: "10.0.0.3", port: 80 }, { podIdx: 5, source });
    bench.engine.feed(event);
    bench.judge = () => {
      throw new Error("a bug");
    };
    const late = workload("late", { addresses: ["10.0.0.7"] });
    bench.mesh.replace(late);
    bench.traffic.addPod({ podIdx: 6, workloadUid: api.uid, addresses: [], preservesSource: true });
    assert.equal(bench.lastAnswer()?.type, "refuse");
    assert.equal(bench.faults.length, 1);
    bench.close(event, "refused");
    assert.equal(bench.last().outcome.cause, "fault");
  });

  test("is forgotten when the client leaves, and still recorded once", () => {
    const bench = new Bench();
    bench.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    const event = bench.outbound({ address: "10.0.0.2", port: 80 });
    bench.engine.feed(event);
    bench.close(event, "reset-by-downstream");
    bench.traffic.identityInstalled(11, web.identity.text);
    bench.clock.advance(10_000);
    assert.equal(bench.engine.answers.length, 0);
    assert.equal(bench.ended.length, 1);
    assert.equal(bench.traffic.open(), 0);
  });
});

test("an exception costs one connection", () => {
  const bench = new Bench().serve();
  bench.judge = () => {
    throw new Error("a bug");
  };
  const event = bench.outbound({ address: "10.0.0.3", port: 8080 });
  assert.equal(bench.engine.feed(event)?.type, "refuse");
  bench.close(event, "refused");
  assert.equal(bench.last().outcome.cause, "fault");
  assert.equal(bench.faults.length, 1);
  assert.equal(bench.engine.feed(bench.outbound({ address: "8.8.8.8", port: 1 }))?.type, "relay");
});

test("a tunnel that times out hints at NetworkPolicy; a direct dial does not", () => {
  const bench = new Bench().serve();
  const far = bench.outbound({ address: "10.0.0.2", port: 80 });
  bench.engine.feed(far);
  bench.close(far, "connect-timeout");
  assert.equal(bench.last().outcome.flag, "NETWORK_POLICY");
  assert.match(bench.last().outcome.message, /15008/);
  const direct = bench.outbound({ address: "8.8.8.8", port: 80 });
  bench.engine.feed(direct);
  bench.close(direct, "connect-timeout");
  assert.equal(bench.last().outcome.flag, "CONNECT");
});

describe("a connection to a port with a TLSRoute", () => {
  // The least that begins as TLS does: a hello that names nobody, and the same with the name a.b.
  const body = (extensions: readonly number[]): number[] => [
    3,
    3,
    ...Array(32).fill(1),
    0,
    0,
    2,
    19,
    1,
    1,
    0,
    ...extensions,
  ];
  const hello = (extensions: readonly number[]): Uint8Array => {
    const message = [1, 0, 0, body(extensions).length, ...body(extensions)];
    return Uint8Array.from([22, 3, 1, 0, message.length, ...message]);
  };
  const named = hello([0, 12, 0, 0, 0, 8, 0, 6, 0, 0, 3, 97, 46, 98]);
  const begun = () => {
    const bench = new Bench().serve();
    const parents = [{ service: "shop/api", port: 80, portName: null }];
    bench.mesh.streamRoutes.push(streamRoute("TLSRoute", "shop/api", { hostnames: ["a.b"], parents }));
    const event = bench.outbound({ address: "10.96.0.1", port: 80 });
    const ref = { conn: event.conn, generation: event.generation };
    assert.deepEqual(bench.engine.feed(event), { type: "peek", ...ref, bytes: 5 });
    const arrives = (bytes: Uint8Array, isAll = false) =>
      bench.engine.feed({ type: "first-bytes", ...ref, bytes, isAll });
    return { bench, ref, arrives };
  };

  test("goes on when the server that it names has a route, and is refused otherwise", () => {
    const { arrives } = begun();
    assert.deepEqual(arrives(named.subarray(0, 5)), { type: "peek", conn: 1, generation: 1, bytes: named.length });
    assert.equal(arrives(named)?.type, "tunnel");
    for (const [bytes, isAll, cause] of [
      [hello([]), false, "no-tls-route"],
      [Buffer.from("GET / HTTP/1.1"), false, "not-tls"],
      [named.subarray(0, 20), true, "not-tls"],
    ] as const) {
      const { bench, ref, arrives: comes } = begun();
      assert.equal(comes(bytes, isAll)?.type, "refuse");
      bench.close(ref, "refused");
      assert.equal(bench.last().outcome.cause, cause);
    }
  });

  test("is not looked at for ever: eight pieces, and then it is none", () => {
    const { arrives } = begun();
    const asked = Array.from({ length: 9 }, (_, nth) => arrives(named.subarray(0, 5 + nth))?.type);
    assert.deepEqual(asked, [...Array(7).fill("peek"), "refuse", "refuse"]);
  });

  test("waits for its certificate with what was seen", () => {
    const { bench, arrives } = begun();
    bench.traffic.identityDropped(11, web.identity.text);
    assert.equal(arrives(named), undefined);
    bench.traffic.identityInstalled(13, web.identity.text);
    assert.equal(bench.lastAnswer()?.type, "tunnel");
  });
});
