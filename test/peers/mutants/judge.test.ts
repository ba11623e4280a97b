// test peers · the judge of mutants finds what it is there to find, and nothing where an origin has read what the agent has read.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { expect, judge, judgeLog, type Read } from "./judge.ts";
import type { Reading } from "./origins.ts";
import { readConnection } from "./reading.ts";

const inner = "GET /denied/0 HTTP/1.1\r\nHost: a\r\n\r\n";
const post = (id: number, body: string): string =>
  `POST /m/${id}/0 HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const get = (target: string, version = "1.1"): string => `GET ${target} HTTP/${version}\r\nHost: a\r\n\r\n`;

const reads = (...texts: readonly string[]): readonly Read[] =>
  texts.map((text, id) => ({ id, connection: readConnection(Buffer.from(text)) }));
const reading = (method: string, target: string, body = "", more: Partial<Reading> = {}): Reading => {
  const md5 = createHash("md5").update(body).digest("hex");
  return { ...{ method, target, normal: "", host: "a", status: 200, length: body.length, md5 }, ...more };
};
const judged = (read: readonly Read[], ...readings: readonly Reading[]): readonly string[] =>
  judge("origin", expect(read), readings).disagreements;

test("an origin that has read what the agent has read", () => {
  const read = reads(post(0, inner) + get("/m/0/1"));
  const first = reading("POST", "/m/0/0", inner);
  assert.deepEqual(judged(read, first, reading("GET", "/m/0/1")), []);
  assert.deepEqual(judged(read, reading("POST", "/m/0/0", "", { status: 417 })), [], "behind a refusal it may end");
});

test("an origin that ends a message elsewhere", () => {
  const read = reads(post(0, inner) + get("/m/0/1"));
  const next = reading("GET", "/m/0/1");
  for (const readings of [
    [reading("POST", "/m/0/0"), reading("GET", "/denied/0"), next],
    [reading("POST", "/m/0/0", inner), next, next],
    [reading("POST", "/m/0/0", inner.slice(1)), next],
    [reading("POST", "/m/0/0", inner)],
    [reading("PUT", "/m/0/0", inner), next],
    [reading("POST", "/m/0/0", inner, { host: "b" }), next],
    [reading("POST", "/m/0/0", inner, { normal: "/denied/0" }), next],
    [reading("POST", "/m/0/0", inner), next, reading("ET", "/denied", "", { status: 400 })],
  ]) {
    assert.notDeepEqual(judged(read, ...readings), [], JSON.stringify(readings));
  }
});

test("of two requests that are named alike the origin may refuse either", () => {
  const shout = (body: string): string =>
    `POST /Denied HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const read = reads(shout("four"), shout("longer"));
  for (const [refused, answered] of [
    ["four", "longer"],
    ["longer", "four"],
  ] as const) {
    const readings = [reading("POST", "/Denied", refused, { status: 400 }), reading("POST", "/Denied", answered)];
    assert.deepEqual(judged(read, ...readings), []);
    assert.deepEqual(judged(read, ...readings.toReversed()), []);
  }
  assert.notDeepEqual(judged(read, reading("POST", "/Denied", "other"), reading("POST", "/Denied", "four")), []);
});

test("a message that is cut is complete to nobody", () => {
  const read = reads(post(0, inner).slice(0, -1));
  const cut = inner.slice(0, -1);
  assert.deepEqual(judged(read), []);
  assert.deepEqual(judged(read, reading("POST", "/m/0/0", cut, { status: 400 })), []);
  assert.notDeepEqual(judged(read, reading("POST", "/m/0/0", cut)), []);
});

test("a long method is cut in the agent's log, and an origin may take it in any length", () => {
  const method = "L".repeat(1_000);
  // With the first request of a connection it would be no HTTP.
  const read = reads(`${get("/m/0/0")}${method} /m/0/1 HTTP/1.1\r\nHost: a\r\n\r\n`);
  const expected = expect(read);
  const readings = [reading("GET", "/m/0/0"), reading(method, "/m/0/1")];
  assert.deepEqual(judge("origin", expected, readings).disagreements, []);
  const answer = { response_code_details: "via_upstream", bytes_received: "0", response_code: "200" };
  const log = [
    { ...answer, method: "GET", path: "/m/0/0" },
    { ...answer, method: `${method.slice(0, 512)}…`, path: "/m/0/1" },
  ];
  assert.deepEqual(judgeLog(read, expected, log), []);
});

test("the agent's log has each denial, each refusal and each answer", () => {
  const read = reads(
    get("/denied/0") + get("/m/0/1", "1.2"),
    post(1, "body") + get("/m/1/1?a=b", "1.0") + get("/denied/1"),
  );
  const denial = { reason: "denied-by-policy", path: "/denied/0" };
  const refusal = { response_flags: "DPE", refusal: "version" };
  const answer = {
    response_code_details: "via_upstream",
    method: "POST",
    path: "/m/1/0",
    bytes_received: "4",
    response_code: "200",
  };
  const last = { ...answer, method: "GET", path: "/m/1/1", bytes_received: "0" };
  const log = (...entries: readonly Record<string, string>[]): readonly string[] => {
    const expected = expect(read);
    judge("origin", expected, [reading("POST", "/m/1/0", "body"), reading("GET", "/m/1/1?a=b")]);
    return judgeLog(read, expected, entries);
  };
  assert.deepEqual(log(denial, refusal, answer, last), []);
  assert.equal(log(denial, answer, last).length, 1);
  assert.equal(log(denial, denial, refusal, answer, last).length, 1);
  assert.equal(log(denial, { ...refusal, refusal: "target" }, answer, last).length, 2);
  assert.equal(log(denial, refusal, { ...answer, bytes_received: "3" }, last).length, 2);
});
