// Fields of a request are found by name, whole, in their order; and nothing outside of the area is read.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RequestFields } from "./request-fields.ts";

function written(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) => {
      const lengths = Buffer.alloc(4);
      lengths.writeUInt16LE(name.length, 0);
      lengths.writeUInt16LE(value.length, 2);
      return Buffer.concat([lengths, Buffer.from(name + value, "latin1")]);
    }),
  );
}

const name = fc.constantFrom("a", "b", "ab", "a-", "a_", "x-request-id", "x_request.id", "x-requesttid");
const value = fc.string({ unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code)) });

test("values in the order of arrival, and the first of them, cut to a length", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value)), name, fc.nat(8), fc.nat(9), (fields, wanted, limit, before) => {
      const bytes = Buffer.concat([Buffer.alloc(before, "a"), written(fields), Buffer.alloc(9, "b")]);
      const view = new RequestFields(bytes, before, bytes.length - 9);
      const values = fields.filter(([each]) => each === wanted).map(([, each]) => each);
      assert.deepEqual(view.values(wanted), values);
      const dashed = (text: string): string => text.replaceAll(/[_.]/g, "-");
      const alike = fields.filter(([each]) => dashed(each) === dashed(wanted)).map(([, each]) => each);
      assert.deepEqual(view.values(wanted, "alike"), alike);
      assert.equal(view.first(wanted, limit), (values[0] ?? "").slice(0, limit));
    }),
  );
});
