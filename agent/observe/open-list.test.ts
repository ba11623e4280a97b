import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Listed, OpenList } from "./open-list.ts";

class Member implements Listed<Member> {
  earlier: Member | null = null;
  later: Member | null = null;
}

test("members stay in the order in which they came, whichever of them leave", () => {
  const property = fc.property(fc.array(fc.option(fc.nat(20)), { maxLength: 80 }), (steps) => {
    const list = new OpenList<Member>();
    const expected: Member[] = [];
    for (const leaves of steps) {
      if (leaves === null) {
        const member = new Member();
        list.add(member);
        expected.push(member);
      } else {
        const [member] = expected.splice(leaves, 1);
        if (member !== undefined) list.remove(member);
      }
      assert.equal(list.size, expected.length);
      assert.ok([...list].every((member, at) => member === expected[at]));
      assert.equal([...list].length, expected.length);
    }
  });
  fc.assert(property, { verbose: true });
});
