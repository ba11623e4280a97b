// Answers lie in the arena as the engine reads them, whatever an earlier answer has left there.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as abi from "../abi.ts";
import { AnswerWriter } from "./answer-writer.ts";
import type { Answer, Origin } from "./answers.ts";
import type { HeaderEdit } from "./head-edits.ts";

test("a forward says whether other proxies' fields are taken out, also where a dial was written before", () => {
  const arena = new ArrayBuffer(4_096);
  const writer = new AnswerWriter(arena, { records: 0, text: 1_024, textSize: 1_024 });
  const ref = { conn: 7, generation: 3 };
  const dial: Answer = {
    ...{ ...ref, type: "dial", podIdx: 1, from: null, baggage: "", reading: "or-end" },
    to: { address: "10.0.0.1", port: 80 },
  };
  const bitsOf = (answer: Answer): number => {
    writer.restart();
    assert.ok(writer.write(answer));
    return new DataView(arena).getUint32(abi.orlopEngineAnswer.requests, true);
  };
  const forward: Answer = { ...ref, type: "forward", request: 1, target: "" };
  assert.equal(bitsOf(dial), abi.httpReadings.indexOf("or-end"));
  assert.equal(bitsOf(forward), 0);
  assert.equal(bitsOf({ ...forward, removesProxyHeaders: true }), abi.ORLOP_FORWARD_WITHOUT_PROXY_HEADERS);
  assert.equal(bitsOf({ ...forward, removesProxyHeaders: false }), 0);
});

const record = abi.orlopEngineAnswer;
const area = { records: 0, text: 1_024, textSize: 40_000 };
function written(): {
  readonly writer: AnswerWriter;
  readonly view: DataView;
  readonly text: (which: number) => string;
} {
  const arena = new ArrayBuffer(50_000);
  // What an earlier answer has left.
  new Uint8Array(arena).fill(0xee);
  const view = new DataView(arena);
  const text = (which: number): string => {
    const place = record.text + which * abi.orlopSpan.size;
    const from = area.text + view.getUint32(place + abi.orlopSpan.offset, true);
    return Buffer.from(arena).toString("latin1", from, from + view.getUint32(place + abi.orlopSpan.length, true));
  };
  return { writer: new AnswerWriter(arena, area), view, text };
}

test("a forward to an origin has its number, its limits, and edits behind target and authority", () => {
  const { writer, view, text } = written();
  const ref = { conn: 7, generation: 3 };
  const forward: Answer = {
    ...{ ...ref, type: "forward", request: 9, target: "/new?q", authority: "web.shop", origin: 12 },
    requestHeaders: [{ op: "remove", name: "x-old" }],
    responseHeaders: [{ op: "set", name: "x", value: "y" }],
    ...{ timeoutMs: 1.2, tryTimeoutMs: 40 },
  };
  assert.ok(writer.write(forward));
  assert.equal(view.getUint32(record.podIdx, true), 12);
  assert.equal(view.getInt32(record.status, true), 2, "a part of a millisecond is one");
  assert.equal(view.getInt32(record.identity, true), 40);
  assert.ok(writer.write({ ...forward, timeoutMs: 25 * 3_600_000, tryTimeoutMs: 1e12 }));
  assert.deepEqual(
    [record.status, record.identity].map((field) => view.getInt32(field + record.size, true)),
    [25 * 3_600_000, 2 ** 31 - 1],
    "a day is a day, and more than a month is less",
  );
  assert.equal(text(0), "/new?q");
  assert.equal(text(1), "web.shop");
  assert.equal(text(2), "\x02\0\x05\0\0\0x-old");
  assert.equal(text(3), "\0\0\x01\0\x01\0xy");
  writer.restart();
  assert.ok(writer.write({ ...ref, type: "forward", request: 9, target: "" }));
  assert.deepEqual([0, 1, 2, 3].map(text), ["", "", "", ""]);
  for (const field of [record.podIdx, record.status, record.identity]) assert.equal(view.getUint32(field, true), 0);
});

test("a reply has its headers; too many of them are refused", () => {
  const { writer, text } = written();
  const reply: Answer = { ...{ conn: 1, generation: 1, type: "reply", request: 1, status: 302, body: "" } };
  assert.ok(writer.write({ ...reply, headers: [{ op: "set", name: "location", value: "/" }] }));
  assert.equal(text(1), "\0\0\x08\0\x01\0location/");
  const long: HeaderEdit = { op: "set", name: "x", value: "y".repeat(abi.ORLOP_ANSWER_TEXT_LIMIT) };
  assert.throws(() => writer.write({ ...reply, headers: [long] }), RangeError);
});

test("an origin has its pod and its way; a number that is none is refused", () => {
  const { writer, view, text } = written();
  const to = { address: "10.0.0.2", port: 15_008 };
  const parts = { identity: 3, expect: 4, authority: "10.0.0.9:80", baggage: "b", forwarded: "f" };
  const tunnel: Origin = { origin: 5, podIdx: 2, route: { type: "tunnel", to, ...parts } };
  assert.ok(writer.writeOrigin(tunnel));
  assert.equal(view.getUint32(record.type, true), abi.answerTypes["define-origin"]);
  const numbers = [record.conn, record.podIdx, record.requests, record.identity, record.expect];
  assert.deepEqual(
    numbers.map((field) => view.getInt32(field, true)),
    [5, 2, abi.originWays.indexOf("tunnel"), 3, 4],
  );
  assert.deepEqual([0, 1, 2, 3].map(text), ["10.0.0.9:80", "b", "f", ""]);
  writer.restart();
  const from = { address: "10.0.0.1", port: 0 };
  assert.ok(writer.writeOrigin({ origin: 5, podIdx: 2, route: { type: "dial", podIdx: 8, to, from } }));
  assert.equal(view.getInt32(record.status, true), 8);
  assert.equal(view.getUint16(record.from + abi.orlopEndpoint.known, true), 1);
  for (const origin of [0, -1, 1.5, abi.ORLOP_MOST_ORIGIN + 1])
    assert.throws(() => writer.writeOrigin({ ...tunnel, origin }), RangeError);
});
