// No way of showing a Secret shows its bytes (docs/reference/failures.md, D10).
import assert from "node:assert/strict";
import { test } from "node:test";
import { format, inspect } from "node:util";
import { Secret } from "./secret.ts";

const text = "key material that must not be seen";
const secret = (): Secret => new Secret(Buffer.from(text));
const base64 = Buffer.from(text).toString("base64");

test("printing, serialising, inspecting and joining show nothing", () => {
  const one = secret();
  const shown = [
    String(one),
    `${one}`,
    `${JSON.stringify({ one })} ${JSON.stringify([one])}`,
    inspect(one, { showHidden: true, depth: 9 }),
    inspect({ deep: { one } }, { depth: 9, showHidden: true, getters: true }),
    format("%s %o %O %j", one, one, one, one),
    [one].join(),
    JSON.stringify(Object.entries(one)),
    JSON.stringify(structuredClone({ ...one })),
    Reflect.ownKeys(one).join(),
  ].join("\n");
  for (const leak of [text, base64, "107,101,121", "6b 65 79", "6b6579"]) assert.ok(!shown.includes(leak), leak);
});

test("taken once, then overwritten", () => {
  const bytes = Buffer.from(text);
  const one = new Secret(bytes);
  assert.equal(
    one.take((seen) => Buffer.from(seen).toString()),
    text,
  );
  assert.ok(bytes.every((byte) => byte === 0));
  assert.equal(one.held, false);
  assert.throws(() => one.take(() => 0), /used or wiped/);
});

test("overwritten also when its user throws, and by wipe", () => {
  const first = Buffer.from(text);
  const fail = (): never => {
    throw new Error("engine refused");
  };
  assert.throws(() => new Secret(first).take(fail), /engine refused/);
  assert.ok(first.every((byte) => byte === 0));
  const second = Buffer.from(text);
  const one = new Secret(second);
  one.wipe();
  one.wipe();
  assert.ok(second.every((byte) => byte === 0));
});
