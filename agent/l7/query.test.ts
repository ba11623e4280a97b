import assert from "node:assert/strict";
import { test } from "node:test";
import { queryOf } from "./query.ts";

test("the first value of a name counts, and escapes are decoded", () => {
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ["/", "q", undefined],
    ["/?", "q", undefined],
    ["/?q", "q", ""],
    ["/?q=1&q=2", "q", "1"],
    ["/?a=1&q=2", "q", "2"],
    ["/?%71=%31", "q", "1"],
    ["/?q=a%20b", "q", "a b"],
    ["/?q=a+b", "q", "a+b"],
    ["/?q=%zz", "q", "%zz"],
    ["/?q=%ff", "q", "%ff"],
    ["/?q=1=2", "q", "1=2"],
    ["/?qq=1", "q", undefined],
    ["/?Q=1", "q", undefined],
    ["/?&&q=1", "q", "1"],
  ];
  for (const [target, name, value] of rows) assert.equal(queryOf(target, name), value, target);
});
