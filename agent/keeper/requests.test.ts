// requests.ts: what is well formed comes through rebuilt, everything else is refused, whatever the bytes.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PROTOCOL_VERSION } from "./protocol.ts";
import { MAX_PODS, parseRequest } from "./requests.ts";

const seed = Date.now();
console.log(`seed ${seed}`);

const good: readonly Record<string, unknown>[] = [
  { id: 1, op: "hello", version: PROTOCOL_VERSION, node: "node-a.example", role: "waiting" },
  { id: 2, op: "prepare", uid: "0a1b-22", addresses: ["10.0.0.1", "fd00::1"] },
  { id: 3, op: "capture", podIdx: 1, uid: "0a1b-22", failDirect: false },
  { id: 4, op: "release", podIdx: MAX_PODS, uid: "0a1b-22" },
  { id: 4, op: "release-to-guard", podIdx: 1, uid: "0a1b-22", workload: "cluster//Pod/shop/web" },
  { id: 5, op: "sockets", podIdx: 1, uid: "0a1b-22", kind: "local6", count: 64 },
  { id: 7, op: "sever", podIdx: 1, uid: "0a1b-22" },
  { id: 2 ** 31 - 1, op: "programs" },
  { id: 6, op: "prepare", uid: "0a1b-22", addresses: ["10.0.0.1", "10.0.0.2", "fd00::1"] },
  { id: 8, op: "guard", uid: "0a1b-22", workload: "cluster//Pod/shop/web-1" },
  { id: 9, op: "set-addresses", podIdx: 1, uid: "0a1b-22", addresses: ["10.0.0.1"] },
  { id: 10, op: "name", podIdx: 1, uid: "0a1b-22", workload: "cluster//Pod/shop/web-1" },
  { id: 10, op: "known-of", podIdx: 1, uid: "0a1b-22" },
  { id: 15, op: "prepare", uid: "0a1b-22", addresses: [] },
  { id: 11, op: "take" },
  { id: 12, op: "yielded" },
  { id: 13, op: "serving" },
  { id: 14, op: "leave" },
];

test("every operation in its plain form", () => {
  for (const request of good) assert.deepEqual(parseRequest(JSON.stringify(request)), { ok: true, request });
});

test("a hello of another version is answered with ours, whatever else is in it", () => {
  const version = PROTOCOL_VERSION - 1;
  const older = parseRequest(JSON.stringify({ id: 1, op: "hello", version, node: "n" }));
  assert.deepEqual(older, { ok: false, id: 1, message: `this keeper speaks version ${PROTOCOL_VERSION}` });
});

test("addresses come out in their one canonical form", () => {
  const parsed = parseRequest('{"id":1,"op":"prepare","uid":"a","addresses":["FD00:0:0::1"]}');
  assert.partialDeepStrictEqual(parsed, { ok: true, request: { addresses: ["fd00::1"] } });
});

const bad: readonly (readonly [why: string, over: Record<string, unknown>, base: number])[] = [
  ["a path in a UID", { uid: "../../etc" }, 1],
  ["a hidden UID", { uid: ".x" }, 1],
  ["a slash", { uid: "a/b" }, 1],
  ["a line break", { uid: "a\n" }, 1],
  ["a NUL", { uid: "a\0b" }, 1],
  ["an empty UID", { uid: "" }, 1],
  ["a long UID", { uid: "a".repeat(129) }, 1],
  ["a UID that is no text", { uid: ["a"] }, 1],
  ["the same address in both forms", { addresses: ["10.0.0.1", "::ffff:10.0.0.1"] }, 1],
  ["too many addresses", { addresses: Array.from({ length: 17 }, (_, last) => `10.0.0.${last + 1}`) }, 1],
  ["a name for an address", { addresses: ["localhost"] }, 1],
  ["a zone", { addresses: ["fe80::1%eth0"] }, 1],
  ["a CIDR", { addresses: ["10.0.0.0/8"] }, 1],
  ["addresses that look like an array", { addresses: { length: 1, 0: "10.0.0.1" } }, 1],
  ["loopback", { addresses: ["127.0.0.1"] }, 1],
  ["loopback in six", { addresses: ["::1"] }, 1],
  ["the unspecified address", { addresses: ["0.0.0.0"] }, 1],
  ["multicast", { addresses: ["224.0.0.1"] }, 1],
  ["link-local", { addresses: ["fe80::1"] }, 1],
  ["index 0", { podIdx: 0 }, 3],
  ["an index beyond the table", { podIdx: MAX_PODS + 1 }, 3],
  ["half an index", { podIdx: 1.5 }, 3],
  ["an index in text", { podIdx: "1" }, 3],
  ["no sockets", { count: 0 }, 4],
  ["more sockets than a packet carries", { count: 65 }, 4],
  ["a workload with a space", { workload: "a b" }, 8],
  ["a long workload", { workload: "a".repeat(1025) }, 8],
  ["a kind that is none", { kind: "raw" }, 4],
  ["a kind from a prototype", { kind: "constructor" }, 4],
  ["truth that is not boolean", { failDirect: 1 }, 2],
  ["an unknown field", { extra: 1 }, 2],
  ["id 0, which notices have", { id: 0 }, 0],
  ["a negative id", { id: -1 }, 0],
  ["a role that is none", { role: "root" }, 0],
  ["an operation that is none", { op: "setns" }, 5],
  ["an operation from a prototype", { op: "toString" }, 5],
];
for (const [why, over, base] of bad) {
  test(`refused: ${why}`, () => assert.equal(parseRequest(JSON.stringify({ ...good[base], ...over })).ok, false));
}

test("a missing field is refused, and so is one that only a prototype has", () => {
  for (const request of good) {
    for (const name of Object.keys(request)) {
      const { [name]: _gone, ...rest } = request;
      assert.equal(parseRequest(JSON.stringify(rest)).ok, false, `${request.op} without ${name}`);
      assert.equal(parseRequest(JSON.stringify({ ...rest, __proto__: { [name]: request[name] } })).ok, false);
    }
  }
});

test("any text at all: never throws, and what is accepted is exactly what was said", () => {
  const anyRequest = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.anything({ withNullPrototype: true }).map((value) => JSON.stringify(value) ?? ""),
    fc
      .tuple(
        fc.constantFrom(...good),
        fc.dictionary(fc.constantFrom("id", "op", "uid", "podIdx", "kind", "count", "x", "__proto__"), fc.jsonValue()),
      )
      .map(([base, over]) => JSON.stringify({ ...base, ...over })),
  );
  fc.assert(
    fc.property(anyRequest, (text) => {
      const parsed = parseRequest(text);
      if (!parsed.ok) {
        assert.ok(Number.isInteger(parsed.id) && parsed.id >= 0 && parsed.message.length < 200);
        return;
      }
      const { addresses, ...rest } = JSON.parse(text);
      assert.deepEqual(Object.keys(parsed.request).sort(), Object.keys(JSON.parse(text)).sort());
      assert.partialDeepStrictEqual(parsed.request, rest);
      if (addresses !== undefined) assert.ok(["prepare", "set-addresses"].includes(parsed.request.op));
    }),
    { seed, numRuns: 5000 },
  );
});

test("a deeply nested or overlong packet is refused, not survived by luck", () => {
  assert.equal(parseRequest("[".repeat(60_000)).ok, false);
  assert.equal(parseRequest(JSON.stringify({ ...good[0], node: "a".repeat(65_536) })).ok, false);
});
