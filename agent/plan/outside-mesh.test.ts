import assert from "node:assert/strict";
import { test } from "node:test";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { strangerAt, strangerWith } from "./outside-mesh.ts";

test("of an address that the mesh does not list nothing else is known, and it is not reached through HBONE", () => {
  const stranger = strangerAt("192.0.2.1");
  assert.deepEqual([stranger.addresses, stranger.protocol, stranger.name], [["192.0.2.1"], "none", ""]);
  assert.equal(stranger.identity.text, "");
});

test("a verified peer names itself in its baggage; its namespace and identity are the certificate's, whatever it says", () => {
  const identity = spiffeId("cluster.local", "bank", "teller");
  const baggage =
    "k8s.namespace.name=shop,k8s.deployment.name=web,service.name=front,cloud.region=eu,k8s.cluster.name=c2";
  const stranger = strangerWith(identity, "10.2.0.1", baggage);
  assert.equal(stranger.namespace, "bank");
  assert.equal(stranger.identity, identity);
  assert.partialDeepStrictEqual(stranger, {
    ...{ name: "web", workloadName: "web", canonicalName: "front", cluster: "c2", protocol: "hbone" },
    locality: { region: "eu" },
  });
  assert.equal(strangerWith(identity, "10.2.0.1", "\u0000;;==").namespace, "bank");
});

test("a stranger who calls again is the same object, and nobody else is", () => {
  const [bank, shop] = [spiffeId("cluster.local", "bank", "teller"), spiffeId("cluster.local", "shop", "teller")];
  const baggage = "k8s.deployment.name=teller";
  const first = strangerWith(bank, "10.2.0.1", baggage);
  assert.equal(strangerWith({ ...bank }, "10.2.0.1", baggage), first);
  const others = [
    strangerWith(shop, "10.2.0.1", baggage),
    strangerWith(bank, "10.2.0.2", baggage),
    strangerWith(bank, "10.2.0.1", "k8s.deployment.name=cashier"),
  ];
  for (const other of others) assert.notDeepEqual(other, first);
  // Whatever a peer calls itself, what is remembered is bounded; that it was forgotten changes nothing but the object.
  for (let nth = 0; nth < 3_000; nth++) strangerWith(bank, "10.2.0.1", `k8s.deployment.name=w${nth}`);
  assert.notEqual(strangerWith(bank, "10.2.0.1", baggage), first);
  assert.deepEqual(strangerWith(bank, "10.2.0.1", baggage), first);
});
