import assert from "node:assert/strict";
import { randomFillSync } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { workload } from "../mesh/mesh.fake.ts";
import {
  baggageOf,
  forwardedOf,
  hostOfForwarded,
  parseBaggage,
  portOfForwarded,
  traceIdOf,
  traceparents,
} from "./connect-headers.ts";

describe("baggage", () => {
  test("has Istio's members in Istio's order, empty ones left out", () => {
    const full = workload("web-7f", {
      workloadName: "web",
      canonicalName: "web",
      canonicalRevision: "v2",
      locality: { region: "eu", zone: "eu-1", subzone: "x" },
    });
    assert.equal(
      baggageOf(full),
      "k8s.cluster.name=box,k8s.namespace.name=shop,k8s.deployment.name=web,service.name=web,service.version=v2,cloud.region=eu,cloud.availability_zone=eu-1",
    );
    const bare = workload("web", { cluster: "", workloadName: "", canonicalName: "", canonicalRevision: "" });
    assert.equal(baggageOf(bare), "k8s.namespace.name=shop,k8s.pod.name=web");
  });

  test("no name can end its member or the header, and what is written is read back", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 60 }), (name) => {
        const text = baggageOf(
          workload("web", { canonicalName: name, canonicalRevision: "", cluster: "", workloadName: "" }),
        );
        assert.match(
          text,
          /^k8s\.namespace\.name=shop,k8s\.pod\.name=web,service\.name=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/,
        );
        const plain = /^[\x20-\x7e]*$/.test(name) ? name : "";
        assert.equal(parseBaggage(text).canonicalName, plain);
      }),
      { verbose: true },
    );
  });

  test("a peer's is read without trust: first member wins, properties and control bytes go, nothing throws", () => {
    const read = parseBaggage(
      "service.name=a;p=1 , service.name=b,k8s.job.name=j,=x,,k8s.cluster.name=%00,cloud.region=%e2%82",
    );
    assert.equal(read.canonicalName, "a");
    assert.equal(read.workloadName, "j");
    assert.equal(read.cluster, "");
    assert.equal(read.region, "");
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 5000 }), (text) => {
        for (const value of Object.values(parseBaggage(text))) assert.match(value, /^[\x20-\x7e]{0,253}$/);
        assert.match(hostOfForwarded(text), /^[a-z0-9._-]*$/);
      }),
    );
  });
});

describe("forwarded", () => {
  test("names the client and the service", () => {
    assert.equal(forwardedOf({ address: "10.0.0.1", port: 4000 }, null), 'for="10.0.0.1:4000"');
    assert.equal(
      forwardedOf({ address: "fd00::1", port: 4000 }, "api.shop.svc"),
      'for="[fd00::1]:4000";host=api.shop.svc',
    );
    assert.equal(forwardedOf({ address: "10.0.0.1", port: 1 }, 'a";x="'), 'for="10.0.0.1:1"');
  });
  test("gives back the host, quoted or not", () => {
    assert.equal(hostOfForwarded('for="10.0.0.1:1";host=api.shop.svc'), "api.shop.svc");
    assert.equal(hostOfForwarded('for=x;Host="API.shop.svc"'), "api.shop.svc");
    assert.equal(hostOfForwarded("for=x;myhost=a"), "");
    assert.equal(hostOfForwarded(""), "");
  });
});

describe("traceparent", () => {
  test("is well-formed and never the same twice", () => {
    const next = traceparents((bytes) => randomFillSync(bytes));
    const made = Array.from({ length: 500 }, next);
    assert.equal(new Set(made.map(traceIdOf)).size, 500);
    for (const one of made) assert.match(one, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });
  test("of another form or length is none", () => {
    assert.equal(traceIdOf(`00-${"a".repeat(32)}-${"b".repeat(16)}-01`), "a".repeat(32));
    for (const bad of [
      "",
      "00",
      `00-${"A".repeat(32)}-${"b".repeat(16)}-01`,
      `00-${"a".repeat(32)}-${"b".repeat(16)}-01 `,
    ]) {
      assert.equal(traceIdOf(bad), "");
    }
  });
});

test("the client's port is read only beside the address that the tunnel comes from", () => {
  for (const [address, port] of [
    ["10.0.0.1", 700],
    ["fd00::1", 7_421],
  ] as const) {
    const sent = forwardedOf({ address, port }, "api.shop.svc.cluster.local");
    assert.equal(portOfForwarded(sent, address), port, sent);
    assert.equal(portOfForwarded(sent, "10.0.0.2"), 0, sent);
  }
  assert.equal(portOfForwarded("for=10.0.0.1:700", "10.0.0.1"), 700);
  assert.equal(portOfForwarded('by="[fd00::2]:1";for="[FD00:0::1]:700"', "fd00::1"), 700);
  for (const text of [
    "",
    "for=",
    'for="10.0.0.1"',
    'for="10.0.0.1:"',
    'for="10.0.0.1:70000"',
    'for="10.0.0.1:7x"',
    "for=unknown",
  ])
    assert.equal(portOfForwarded(text, "10.0.0.1"), 0, text);
});
