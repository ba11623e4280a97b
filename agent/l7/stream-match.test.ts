// Which of several TCPRoutes and TLSRoutes takes a connection, held against a plain reading of the rule on random routes.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { fullName } from "../mesh/full-name.ts";
import { streamRoute } from "../mesh/mesh.fake.ts";
import type { StreamRoute } from "../mesh/stream-route.ts";
import { streamRouteFor } from "./stream-match.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
const tls = (name: string, hostnames: readonly string[], createdMs = 0): StreamRoute =>
  streamRoute("TLSRoute", "shop/api", { name, hostnames, createdMs });

test("a whole name before a star, a longer star before a shorter, then the oldest route, then the first by name", () => {
  const routes = [
    tls("short", ["*.example"]),
    tls("long", ["*.shop.example"]),
    tls("whole", ["api.shop.example"], 9),
    tls("b", ["same.example"], 5),
    tls("a", ["same.example"], 5),
    tls("older", ["other.example"], 1),
    tls("newer", ["other.example"], 2),
  ];
  const taken = (name: string | null): string | undefined => streamRouteFor(routes, name)?.name;
  assert.equal(taken("api.shop.example"), "whole");
  assert.equal(taken("a.b.shop.example"), "long");
  assert.equal(taken("shop.example"), "short");
  assert.equal(taken("x.example"), "short");
  assert.equal(taken("same.example"), "a");
  assert.equal(taken("other.example"), "older");
  assert.deepEqual([taken("example"), taken("evilexample"), taken(null)], [undefined, undefined, undefined]);
});

test("of TCPRoutes the oldest takes each connection", () => {
  const route = (name: string, createdMs: number): StreamRoute =>
    streamRoute("TCPRoute", "shop/api", { name, createdMs });
  assert.equal(streamRouteFor([route("b", 3), route("c", 2), route("a", 3)], null)?.name, "c");
  assert.equal(streamRouteFor([], "a"), undefined);
});

test(`as the rule reads, on random routes (ORLOP_SEED=${SEED})`, () => {
  const label = fc.constantFrom("a", "b", "cc");
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
  const hostname = fc.tuple(fc.boolean(), name).map(([isWild, text]) => (isWild ? `*.${text}` : text));
  const routes = fc.array(
    fc.tuple(fc.constantFrom("r1", "r2", "r3", "r4"), fc.array(hostname, { minLength: 1, maxLength: 3 }), fc.nat(2)),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(routes, name, (drawn, asked) => {
      const all = drawn.map(([called, hostnames, age], index) => tls(`${called}${index}`, hostnames, age));
      const labels = asked.split(".");
      // From the most exact to the least: each suffix with a star takes at least a label in its place.
      const wanted = [asked, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`)];
      const best = wanted.find((each) => all.some(({ hostnames }) => hostnames.includes(each)));
      const expected = all
        .filter(({ hostnames }) => best !== undefined && hostnames.includes(best))
        .sort((a, b) => a.createdMs - b.createdMs || (fullName(a) < fullName(b) ? -1 : 1))[0];
      assert.equal(streamRouteFor(all, asked), expected);
    }),
    { seed: SEED, numRuns: 5_000 },
  );
});
