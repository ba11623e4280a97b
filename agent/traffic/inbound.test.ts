import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { ConnectRequest } from "../engine/events.ts";
import { deny } from "../policy/policy.fake.ts";
import { api, Bench, web } from "./traffic.fake.ts";

describe("a CONNECT", () => {
  test("from a verified peer to the pod's own address and port is dialled from the client's address", () => {
    const bench = new Bench().serve();
    const event = bench.connect("10.0.0.1:8080", {
      forwarded: 'for="10.0.0.2:40000";host=api.shop.svc.cluster.local',
      traceparent: `00-${"ab".repeat(16)}-${"cd".repeat(8)}-00`,
    });
    const answer = bench.engine.feed(event);
    assert.ok(answer?.type === "dial");
    assert.deepEqual(answer.to, { address: "10.0.0.1", port: 8080 });
    assert.deepEqual(answer.from, { address: "10.0.0.2", port: 40_000 });
    assert.equal(answer.podIdx, 1);
    assert.match(answer.baggage, /k8s\.pod\.name=web/);
    const [facts] = bench.asked;
    assert.equal(facts?.security, "mtls");
    assert.equal(facts?.sourceIdentity?.text, api.identity.text);
    assert.equal(facts?.sourceAddress, "10.0.0.2");
    assert.equal(facts?.destination.uid, web.uid);
    bench.close(event);
    const { record } = bench.last();
    assert.equal(record.reporter, "destination");
    assert.equal(record.source.workload?.uid, api.uid);
    assert.deepEqual(record.hbone, { address: "10.0.0.1", port: 8080 });
    assert.equal(record.service?.hostname, "api.shop.svc.cluster.local");
    assert.equal(record.traceId, "ab".repeat(16));
  });

  test("without source preservation is dialled from the pod's own address", () => {
    const bench = new Bench().serve();
    const local = { address: "10.0.0.3", port: 15_008 };
    const answer = bench.engine.feed(bench.connect("10.0.0.3:80", { podIdx: 2, local }));
    assert.ok(answer?.type === "dial");
    assert.equal(answer.from, null);
  });

  test("that policy denies gets 401 and a record with identity, policy reason and flag", () => {
    const bench = new Bench().serve();
    bench.judge = () => deny("denied-by-policy");
    const event = bench.connect("10.0.0.1:8080");
    assert.deepEqual(bench.engine.feed(event), { type: "refuse", conn: event.conn, generation: 1, status: 401 });
    bench.close(event, "refused");
    assert.equal(bench.last().outcome.flag, "DENY");
    assert.equal(bench.last().record.decision?.reason, "denied-by-policy");
    assert.equal(bench.last().record.source.identity?.text, api.identity.text);
    assert.equal(bench.last().record.destination.workload?.uid, web.uid);
  });

  test("headers decide nothing: the evaluator is shown the same facts whatever they say", () => {
    const bench = new Bench().serve();
    bench.engine.feed(bench.connect("10.0.0.1:8080"));
    bench.engine.feed(
      bench.connect("10.0.0.1:8080", {
        baggage: "k8s.namespace.name=admin,service.name=root",
        forwarded: 'for="192.0.2.1:1";host=admin.svc',
      }),
    );
    assert.deepEqual(bench.asked[0], bench.asked[1]);
  });

  test("from an address whose workload has another identity is labelled as it names itself, but for what is proved", () => {
    const bench = new Bench().serve();
    const peerIdentity = bench.verify("spiffe://cluster.local/ns/shop/sa/stranger");
    const baggage = "k8s.namespace.name=admin,k8s.deployment.name=stranger,service.version=v9";
    const event = bench.connect("10.0.0.1:8080", { peerIdentity, baggage });
    assert.equal(bench.engine.feed(event)?.type, "dial");
    bench.close(event);
    const { workload } = bench.last().record.source;
    assert.deepEqual(
      [workload?.workloadName, workload?.namespace, workload?.canonicalRevision, workload?.uid],
      ["stranger", "shop", "v9", ""],
    );
  });

  const refusals: readonly (readonly [string, string, Partial<ConnectRequest>, number, string])[] = [
    ["another pod", "10.0.0.3:8080", {}, 400, "authority-mismatch"],
    ["a pod of another node", "10.0.0.2:8080", {}, 400, "authority-mismatch"],
    ["loopback", "127.0.0.1:8080", {}, 400, "authority-mismatch"],
    ["loopback, IPv6", "[::1]:8080", {}, 400, "authority-mismatch"],
    ["metadata", "169.254.169.254:80", {}, 400, "authority-mismatch"],
    ["the pod, v4-mapped", "[::ffff:a00:1]:8080", {}, 400, "authority-mismatch"],
    ["the pod's other address", "[fd00::1]:8080", {}, 400, "authority-mismatch"],
    ["everywhere", "0.0.0.0:8080", {}, 400, "authority-mismatch"],
    ["our outbound port", "10.0.0.1:15001", {}, 503, "own-port"],
    ["our inbound port", "10.0.0.1:15006", {}, 503, "own-port"],
    ["ourselves", "10.0.0.1:15008", {}, 503, "own-port"],
    ["a name", "api.shop.svc.cluster.local:80", {}, 503, "hostname-authority"],
    ["localhost", "localhost:80", {}, 503, "hostname-authority"],
    ["nothing", "", {}, 400, "bad-authority"],
    ["no port", "10.0.0.1", {}, 400, "bad-authority"],
    ["port 0", "10.0.0.1:0", {}, 400, "bad-authority"],
    ["port 65536", "10.0.0.1:65536", {}, 400, "bad-authority"],
    ["a padded port", "10.0.0.1:08080", {}, 400, "bad-authority"],
    ["octal", "10.0.0.01:8080", {}, 400, "bad-authority"],
    ["a short address", "10.1:8080", {}, 400, "bad-authority"],
    ["hexadecimal", "0x0a000001:8080", {}, 400, "bad-authority"],
    ["a number", "167772161:8080", {}, 400, "bad-authority"],
    ["userinfo", "user@10.0.0.1:8080", {}, 400, "bad-authority"],
    ["a scheme", "http://10.0.0.1:8080", {}, 400, "bad-authority"],
    ["a path", "10.0.0.1:8080/", {}, 400, "bad-authority"],
    ["blanks", " 10.0.0.1:8080", {}, 400, "bad-authority"],
    ["a line end", "10.0.0.1:8080\n", {}, 400, "bad-authority"],
    ["NUL", "10.0.0.1:8080\0", {}, 400, "bad-authority"],
    ["a zone", "[fe80::1%eth0]:8080", {}, 400, "bad-authority"],
    ["other digits", "１０.0.0.1:8080", {}, 400, "bad-authority"],
    ["an unverified peer", "10.0.0.1:8080", { peerIdentity: 0 }, 401, "unknown-peer"],
    ["an invented peer", "10.0.0.1:8080", { peerIdentity: 99 }, 401, "unknown-peer"],
    ["a pod nobody serves", "10.0.0.1:8080", { podIdx: 9 }, 503, "unknown-pod"],
    ["a listener of another pod", "10.0.0.1:8080", { podIdx: 2 }, 503, "unknown-pod"],
  ];
  for (const [what, authority, given, status, cause] of refusals) {
    test(`to ${what} is refused with ${status}: ${cause}`, () => {
      const bench = new Bench().serve();
      const event = bench.connect(authority, given);
      const answer = bench.engine.feed(event);
      assert.deepEqual(answer, { type: "refuse", conn: event.conn, generation: 1, status });
      assert.equal(bench.asked.length, 0, "refused before anybody was judged");
      bench.close(event, "refused");
      assert.equal(bench.last().outcome.cause, cause);
      assert.equal(bench.ended.length, 1);
    });
  }

  test("with any authority at all only ever reaches the pod's own address and no port of ours (E2)", () => {
    const octets = fc.array(fc.constantFrom("10", "0", "1", "127", "169", "254", "255", "256", "01", ""), {
      minLength: 1,
      maxLength: 5,
    });
    const host = fc.oneof(
      octets.map((parts) => parts.join(".")),
      fc.ipV4(),
      fc.ipV6().map((address) => `[${address}]`),
      fc.constantFrom(
        "10.0.0.1",
        "[::ffff:10.0.0.1]",
        "[fd00::1]",
        "localhost",
        "10.0.0.1.",
        "user@10.0.0.1",
        "%31%30.0.0.1",
      ),
      fc.string({ maxLength: 12 }),
    );
    const port = fc.oneof(
      fc.integer({ min: -1, max: 70_000 }).map(String),
      fc.constantFrom("15008", "15001", "15006", "8080", "", "0080", "+80", "8e1"),
    );
    const authority = fc.oneof(
      fc.tuple(host, port).map(([name, digits]) => `${name}:${digits}`),
      fc.string(),
    );
    const bench = new Bench().serve();
    fc.assert(
      fc.property(authority, (text) => {
        const event = bench.connect(text);
        const answer = bench.engine.feed(event);
        assert.ok(answer !== undefined);
        if (answer.type === "dial") {
          assert.equal(answer.to.address, "10.0.0.1");
          assert.equal(text, `10.0.0.1:${answer.to.port}`);
          assert.ok(
            answer.to.port > 0 && answer.to.port < 65_536 && ![15_001, 15_006, 15_008].includes(answer.to.port),
          );
        } else {
          assert.equal(answer.type, "refuse");
        }
        bench.close(event, answer.type === "dial" ? "finished" : "refused");
      }),
      { numRuns: 3000, verbose: true },
    );
    assert.equal(bench.faults.length, 0);
    assert.equal(bench.traffic.open(), 0);
  });
});

describe("plaintext on :15006", () => {
  test("is judged with nobody's identity and dialled", () => {
    const bench = new Bench().serve();
    const event = bench.plaintext();
    const answer = bench.engine.feed(event);
    assert.ok(answer?.type === "dial");
    assert.deepEqual(answer.from, { address: "10.9.9.9", port: 0 });
    assert.equal(bench.asked[0]?.security, "none");
    assert.equal(bench.asked[0]?.sourceIdentity, null);
    bench.close(event);
    assert.equal(bench.last().record.security, "none");
    assert.equal(bench.last().record.reporter, "destination");
  });

  test("gives a known address its labels and not its identity", () => {
    const bench = new Bench().serve();
    const event = bench.plaintext({ source: { address: "10.0.0.2", port: 1 } });
    bench.engine.feed(event);
    bench.close(event);
    assert.equal(bench.last().record.source.workload?.uid, api.uid);
    assert.equal(bench.last().record.source.identity, null);
  });

  test("is refused when policy denies, when the address is of loopback, when the port is ours", () => {
    const bench = new Bench().serve();
    const own = bench.plaintext({ destination: { address: "10.0.0.1", port: 15_006 } });
    const other = bench.plaintext({ destination: { address: "127.0.0.1", port: 80 } });
    const unknown = bench.plaintext({ podIdx: 7 });
    const lost = bench.plaintext({ destination: null });
    const judged = bench.plaintext();
    bench.judge = () => deny("mtls-required");
    const causes = [own, other, unknown, lost, judged].map((event) => {
      assert.equal(bench.engine.feed(event)?.type, "refuse");
      bench.close(event, "refused");
      return bench.last().outcome.cause;
    });
    assert.deepEqual(causes, ["own-port", "unknown-pod", "unknown-pod", "no-original-destination", "policy"]);
    assert.equal(bench.last().record.decision?.reason, "mtls-required");
  });
});

describe("a peer's certificate", () => {
  const ask = (bench: Bench, role: "server" | "client", identity: string, expect = 0) =>
    bench.engine.feed({
      ...bench.ref(),
      type: "peer-certificate",
      role,
      podIdx: 1,
      peer: { address: "10.0.0.2", port: 1 },
      leaf: new Uint8Array(Buffer.from(identity)),
      identity: 11,
      expect,
    })?.type;

  test("as a server: our own trust domain and nothing else", () => {
    const bench = new Bench().serve();
    assert.equal(ask(bench, "server", api.identity.text), "peer");
    assert.equal(ask(bench, "server", "spiffe://evil.local/ns/shop/sa/api"), "reject-peer");
    assert.equal(ask(bench, "server", "spiffe://cluster.local/ns/shop/sa/api/"), "reject-peer");
    assert.equal(ask(bench, "server", ""), "reject-peer");
    assert.deepEqual(bench.rejected, ["foreign-trust-domain", "not-canonical", "not-canonical"]);
  });

  test("as a client: one of the expected set, whoever else our CA has signed", () => {
    const bench = new Bench().serve();
    const answer = bench.engine.feed(bench.outbound({ address: "10.0.0.2", port: 80 }));
    const expect = answer?.type === "tunnel" ? answer.expect : -1;
    assert.equal(ask(bench, "client", api.identity.text, expect), "peer");
    assert.equal(ask(bench, "client", web.identity.text, expect), "reject-peer");
    assert.equal(ask(bench, "client", api.identity.text, 0), "reject-peer");
    assert.equal(ask(bench, "client", api.identity.text, expect + 1), "reject-peer");
    assert.deepEqual(new Set(bench.rejected), new Set(["unexpected-identity"]));
  });
});
