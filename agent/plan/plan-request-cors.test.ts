// Cross-origin sharing of a rule: preflights, and the answers that pages of other origins may read.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeMesh, policy, routeBackend } from "../mesh/mesh.fake.ts";
import { answer, forwarded, type Given, plan, to } from "../traffic/planned-request.fake.ts";

test("a preflight is answered, and other requests go on and share their response", () => {
  const cors = {
    ...{
      origins: ["https://a.example"],
      credentials: false,
      methods: ["PUT"],
      headers: [],
      exposes: [],
      maxAgeSeconds: 5,
    },
  };
  const given = to([routeBackend("shop/far")], { cors });
  const sent: Readonly<Record<string, string>> = {
    origin: "https://a.example",
    "access-control-request-method": "PUT",
  };
  const header = (name: string): readonly string[] => (sent[name] === undefined ? [] : [sent[name]]);
  const found = plan(given, { method: "OPTIONS", header });
  assert.equal(answer(found), "204 preflight");
  assert.deepEqual(found.responseEdits.at(0), {
    ...{ op: "set", name: "access-control-allow-origin", value: "https://a.example" },
  });
  const foreign = (name: string): readonly string[] => (name === "origin" ? ["https://b.example"] : header(name));
  assert.equal(answer(plan(given, { method: "OPTIONS", header: foreign })), "403 preflight");
  const on = forwarded(plan(given, { method: "PUT", header }));
  assert.deepEqual(on.responseEdits, [
    { op: "set", name: "access-control-allow-origin", value: "https://a.example" },
    { op: "add", name: "vary", value: "Origin" },
  ]);
});

test("what the agent answers for a rule with CORS can be read by the pages that the rule allows", () => {
  const cors = {
    origins: ["https://a.example"],
    credentials: false,
    methods: [],
    headers: [],
    exposes: [],
    maxAgeSeconds: 5,
  };
  const header = (name: string): readonly string[] => (name === "origin" ? ["https://a.example"] : []);
  const allowed = (given: Given): unknown =>
    plan(given, { header }).responseEdits.find(({ name }) => name === "access-control-allow-origin");
  const yes = { op: "set", name: "access-control-allow-origin", value: "https://a.example" };
  const deny = (mesh: FakeMesh) =>
    mesh.policies.push(policy("DENY", [], { selector: { app: "near" } }), policy("ALLOW", []));
  for (const [given, said] of [
    [to([], { cors }), "500 no-backend"],
    [to([routeBackend("shop/nobody")], { cors }), "500 bad-backend"],
    [to([routeBackend("shop/empty")], { cors }), "503 no-endpoint"],
    [{ ...to([routeBackend("shop/near")], { cors }), change: deny }, "403 policy"],
  ] as const) {
    assert.equal(answer(plan(given, { header })), said);
    assert.deepEqual(allowed(given), yes, said);
    assert.equal(
      plan(given).responseEdits.some(({ op, name }) => op === "set" && name === yes.name),
      false,
    );
  }
  assert.equal(allowed(to([])), undefined);
});
