// Tests of output.ts and the small readers: YAML that reads back, times, selectors.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parse } from "yaml";
import { selects } from "./get.ts";
import { parseSeconds } from "./log.ts";
import { duration, grouped, painter, table, yaml } from "./output.ts";

test("yaml reads back as the value it was written from", () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.constantFrom(
      "yes",
      "null",
      "1e3",
      "- a",
      "a: b",
      "#",
      "",
      "~",
      "0x1",
      "a:",
      "::",
      "@x",
      "*a",
      "2026-11-21",
      "127.0.0.1",
      "fd00::1",
      "-",
    ),
  );
  const key = fc
    .oneof(fc.constantFrom("a", "b c", "1", "true", "x:y"), fc.string({ minLength: 1 }))
    .filter((one) => one !== "__proto__");
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, text, fc.integer(), fc.boolean(), fc.constant(null), tie("list"), tie("map")),
    list: fc.array(tie("value"), { maxLength: 4 }),
    map: fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  }));
  fc.assert(
    fc.property(value, (one) => {
      assert.deepEqual(parse(yaml(one)), one);
    }),
    { numRuns: 500 },
  );
});

test("times are shown in two units at most and read between a second and a day", () => {
  const shown: readonly (readonly [number, string])[] = [
    [-5, "0s"],
    [999, "0s"],
    [45_000, "45s"],
    [242_000, "4m2s"],
    [3_600_000, "1h"],
    [273_600_000, "3d4h"],
  ];
  for (const [ms, text] of shown) assert.equal(duration(ms), text);
  assert.equal(parseSeconds("1h30m"), 5_400);
  for (const bad of ["", "0s", "10", "m", "1w", "10m!", "25h", "-1s", "1s 1s"])
    assert.throws(() => parseSeconds(bad), /cannot use the time/);
  assert.equal(grouped(1_234_567), "1,234,567");
  assert.equal(grouped(999), "999");
});

test("selectors: equality, difference, presence, absence; all must hold", () => {
  const labels = { app: "web", tier: "front" };
  for (const good of [undefined, "app", "app=web", "app==web", "app=web,tier", "app!=db", "!zone", "zone!=a"])
    assert.ok(selects(good, labels), good);
  for (const not of ["app=db", "zone", "!app", "app=web,tier!=front", "constructor"])
    assert.ok(!selects(not, labels), not);
  for (const bad of ["=x", "a=b=c", "!a=b", "a b", ",", ""])
    assert.throws(() => selects(bad, labels), /cannot read the selector/);
});

test("a table pads by what is seen, also with colours and wide characters", () => {
  const columns = [
    { header: "NAME", value: (one: readonly string[]) => one[0] ?? "" },
    { header: "STATE", value: (one: readonly string[]) => one[1] ?? "" },
    { header: "END", value: (one: readonly string[]) => one[2] ?? "" },
  ];
  const options = { wide: false, headers: true, namespaces: true, paint: painter(true) };
  assert.equal(
    table(
      columns,
      [
        ["é→x", "ok", "1"],
        ["b", "FAIL now", ""],
      ],
      options,
    ),
    "NAME  STATE     END\né→x   \u001b[32mok\u001b[0m        1\nb     \u001b[31mFAIL\u001b[0m now  -\n",
  );
});
