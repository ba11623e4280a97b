// Tests of log.ts: rooms, levels that revert, and secrets that never reach a line.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { Log } from "./log.ts";

function log(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  return { log: new Log({ level: "info", write: (line) => lines.push(line), now: () => 0 }), lines };
}

test("a line is one JSON object with level, time, scope and message", () => {
  const { log: one, lines } = log();
  one.room("traffic").warn("line\nbreak", { pod: 3 });
  one.room("traffic").debug("not shown");
  assert.equal(lines.length, 1);
  assert.deepEqual(JSON.parse(lines[0] ?? ""), {
    level: "warn",
    time: "1970-01-01T00:00:00.000Z",
    scope: "traffic",
    pod: 3,
    message: "line\nbreak",
  });
});

test("a room's level changes alone and reverts after its time", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { log: one, lines } = log();
  one.set("policy", "debug", 600_000);
  one.room("policy").debug("shown");
  one.room("traffic").debug("not shown");
  assert.deepEqual(
    one.settings().find(({ room }) => room === "policy"),
    { room: "policy", level: "debug", until: 600_000 },
  );
  t.mock.timers.tick(600_001);
  one.room("policy").debug("not shown");
  assert.equal(lines.length, 1);
  one.set("policy", "silent", null);
  one.room("policy").error("not shown");
  assert.equal(lines.length, 1);
  assert.match(one.change("nowhere", "info", null) ?? "", /^there is no room nowhere; there are agent, /);
  assert.match(one.change("policy", "loud", null) ?? "", /^there is no level loud; there are trace, /);
  assert.equal(one.change("policy", "debug", null), undefined);
  one.room("policy").debug("shown");
  assert.equal(lines.length, 2);
});

test("keys, bytes, tokens and objects of a class do not print", () => {
  const { log: one, lines } = log();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const secretBytes = Buffer.from("very secret bytes");
  const cause = Object.assign(new Error(`could not use ${pem}`), { code: "EKEY" });
  one
    .room("identity")
    .error("failed", { privateKey, pem, secretBytes, cause, header: "Bearer abcdefghijklmnop", deep: [[{ pem }]] });
  const line = lines[0] ?? "";
  const body = pem.split("\n")[1] ?? "never";
  for (const secret of [body, "very secret", "abcdefghijklmnop", secretBytes.toString("base64")])
    assert.ok(!line.includes(secret), secret);
  assert.match(line, /"secretBytes":"\[17 bytes\]"/);
  assert.match(line, /"code":"EKEY"/);
});

test("a terminal obeys nothing of a line, whatever a name in it holds", () => {
  const { log: one, lines } = log();
  const evil = "\u009b31m\u007f\u202e\u2028\u001b]0;x\u0007\r\nforged";
  one.room("agent").info(evil, { [evil]: evil, nested: { pod: evil } });
  const written = lines.join("");
  assert.doesNotMatch(written.slice(0, -1), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  const parsed: unknown = JSON.parse(written);
  assert.equal(Reflect.get(Object(parsed), "message"), evil);
  assert.equal(Reflect.get(Object(parsed), evil), evil);
});
