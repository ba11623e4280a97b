// What is kept beside the matches and filters of an HTTPRoute: a fault, by its annotation, and sessions.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Found, head, read, rule, withRules } from "./http-route.fake.ts";

test("a fault is of a rule by its name, or of all; a mistake in it refuses the route", () => {
  const faulty = (fault: string): Found => {
    const annotations = `annotations: { orlop.dev/fault: '${fault}' }`;
    const named = head.replace("namespace: shop }", `namespace: shop, ${annotations} }`);
    return read(`${named}  rules: [{ name: a }, { name: b }]\n`);
  };
  const expires = '"expires": "2026-12-01T18:00:00+01:00"';
  const whole = `{ "rule": "b", "delay": { "fixed": "1s", "percent": 10 }, "abort": { "status": 503 }, "reset": {}, ${expires} }`;
  const { route, problems } = faulty(whole);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    route?.rules.map(({ fault }) => fault),
    [
      undefined,
      {
        ...{ expiresMs: Date.parse("2026-12-01T17:00:00Z"), delay: { fixed: 1_000, percent: 10 } },
        ...{ abort: { status: 503, percent: 100 }, reset: { percent: 100 } },
      },
    ],
  );
  assert.equal(
    faulty(`{ "reset": {}, ${expires} }`).route?.rules.every(({ fault }) => fault !== undefined),
    true,
  );
  for (const [fault, said] of [
    ["{", /is no JSON/],
    ['{ "reset": {} }', /expires/],
    ['{ "reset": {}, "expires": "tomorrow" }', /expires/],
    ['{ "reset": {}, "expires": "2026-12-01" }', /expires/],
    [`{ ${expires} }`, /names no fault/],
    [`{ "reset": { "percent": 0 }, ${expires} }`, /percent/],
    [`{ "reset": { "percent": 101 }, ${expires} }`, /percent/],
    [`{ "delay": { "fixed": "6s" }, ${expires} }`, /6000 ms is no delay/],
    [`{ "delay": { "fixed": "0s" }, ${expires} }`, /0 ms is no delay/],
    [`{ "abort": { "status": 100 }, ${expires} }`, /status/],
    [`{ "reset": {}, "newer": 1, ${expires} }`, /has no field "newer"/],
    [`{ "rule": "c", "reset": {}, ${expires} }`, /names the rule "c"/],
  ] as const) {
    const found = faulty(fault);
    assert.equal(found.route, undefined, fault);
    assert.match(found.problems.join("\n"), said, fault);
  }
});

test("sessions: by a cookie or a header, with or without an end", () => {
  const session = (text: string): unknown => rule(`sessionPersistence: ${text}`).session;
  assert.deepEqual(session("{}"), { by: "cookie", name: null, lastsMs: 0, isPermanent: false });
  assert.deepEqual(session("{ sessionName: Shop, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }"), {
    by: "cookie",
    name: "Shop",
    lastsMs: 3_600_000,
    isPermanent: true,
  });
  assert.deepEqual(session("{ type: Header, sessionName: X-Session }"), {
    ...{ by: "header", name: "x-session", lastsMs: 0, isPermanent: false },
  });
  for (const [text, said] of [
    ["{ type: Header, cookieConfig: {} }", /has a cookieConfig/],
    ["{ cookieConfig: { lifetimeType: Permanent } }", /Permanent without an absoluteTimeout/],
    ['{ sessionName: "a b" }', /"a b" is no name of a cookie/],
    ["{ type: Header, sessionName: Host }", /host is not for a route to change/],
    ["{ newer: 1 }", /has no field "newer"/],
  ] as const) {
    const { route, problems } = read(withRules(`sessionPersistence: ${text}`));
    assert.equal(route, undefined, text);
    assert.match(problems.join("\n"), said, text);
  }
});
