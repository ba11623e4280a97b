// Mirrors of an HTTPRoute: shares, credentials, and each mistake with its place.
import assert from "node:assert/strict";
import { test } from "node:test";
import { read, rule, withRules } from "./http-route.fake.ts";

const mirror = (more: string): string =>
  `filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 1 }${more} } }]`;

test("mirrors: several of a rule, each with its share; credentials stay behind unless the route says otherwise", () => {
  const shareOf = (more: string): readonly (readonly [number, number])[] | undefined =>
    rule(mirror(more)).mirrors?.map(({ numerator, denominator }) => [numerator, denominator]);
  assert.deepEqual(shareOf(""), [[100, 100]]);
  assert.deepEqual(shareOf(", percent: 7"), [[7, 100]]);
  assert.deepEqual(shareOf(", percent: 0"), [[0, 100]]);
  assert.deepEqual(shareOf(", fraction: { numerator: 1 }"), [[1, 100]]);
  assert.deepEqual(shareOf(", fraction: { numerator: 5, denominator: 1000 }"), [[5, 1_000]]);
  assert.equal(rule("name: a").mirrors, undefined);
  const both = `${mirror("").slice(0, -1)}, { type: RequestMirror, requestMirror: { backendRef: { name: c, namespace: other, port: 2 } } }]`;
  const [first, second] = rule(both).mirrors ?? [];
  assert.deepEqual([first?.backend.service, first?.backend.port], ["shop/b", 1]);
  assert.deepEqual([second?.backend.service, second?.backend.port], ["other/c", 2]);
  const removed = ["authorization", "cookie", "proxy-authorization"];
  assert.deepEqual(first?.backend.requestEdits.remove.slice(0, 3), removed);
  for (const [value, kept] of [
    ["true", true],
    ["yes", false],
  ] as const) {
    const annotated = withRules(mirror("")).replace(
      "namespace: shop }",
      `namespace: shop, annotations: { orlop.dev/mirror-credentials: "${value}" } }`,
    );
    const [only] = read(annotated).route?.rules[0]?.mirrors ?? [];
    assert.equal(only?.backend.requestEdits.remove.length === 0, kept, value);
  }
});

test("a mirror's mistakes have their place, and a target that is no Service gets nothing", () => {
  const rows: readonly (readonly [string, RegExp])[] = [
    [mirror(", percent: 101"), /^f\.yaml:7:\d+ ORL4104 .*requestMirror\.percent/],
    [mirror(", percent: 1, fraction: { numerator: 1 }"), /has percent and fraction/],
    [mirror(", fraction: { numerator: 3, denominator: 2 }"), /has the fraction 3\/2/],
    [mirror(", fraction: { numerator: 0, denominator: 0 }"), /has the fraction 0\/0/],
    [mirror(", fraction: { denominator: 2 }"), /lacks "numerator"/],
    [mirror(", host: a"), /ORL4102/],
    ["filters: [{ type: RequestMirror }]", /is no filter that is honoured/],
    [
      "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 1 } }, cors: { allowOrigins: ['*'] } }]",
      /is no filter that is honoured/,
    ],
    [
      `${mirror("").slice(0, -1)}, { type: RequestRedirect, requestRedirect: { port: 1 } }]`,
      /has a RequestRedirect and a RequestMirror/,
    ],
  ];
  for (const [text, said] of rows) {
    const { route, problems } = read(withRules(text));
    assert.equal(route, undefined, text);
    assert.match(problems.join("\n"), said, text);
  }
  const { route, findings } = read(
    withRules(
      "filters: [{ type: RequestMirror, requestMirror: { backendRef: { kind: Gate, group: x.io, name: b } } }]",
    ),
  );
  assert.equal(route?.rules[0]?.mirrors?.[0]?.backend.service, null);
  assert.match(findings.join("\n"), /the target of a RequestMirror names a Gate/);
});
