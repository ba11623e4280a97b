// Ports that programs of the node reach, against a plain set.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { orlopInKey } from "../abi.ts";
import { FakeMap } from "./maps.fake.ts";
import { entriesOf, littleEndian, view } from "./maps.ts";
import { NodePorts } from "./node-ports.ts";

const tableOf = (maxEntries = 100) =>
  new FakeMap({ name: "node_port", keyBytes: orlopInKey.size, valueBytes: 4, maxEntries });
const rows = (map: FakeMap): string[] =>
  [...entriesOf(map)]
    .map(
      ([key]) =>
        `${view(key).getUint32(orlopInKey.podIdx, littleEndian)}:${view(key).getUint16(orlopInKey.port, false)}`,
    )
    .toSorted();

test("any sequence of sets leaves what was said last, also for the next agent", () => {
  const ports = fc.oneof(fc.constant(null), fc.uniqueArray(fc.constantFrom(80, 81, 82), { maxLength: 3 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(1, 2), ports, fc.boolean()), { maxLength: 12 }), (steps) => {
      const map = tableOf();
      let table = new NodePorts(map);
      const said = new Map<number, readonly number[] | null>();
      for (const [podIdx, desired, anew] of steps) {
        const before = said.has(podIdx) ? (said.get(podIdx) ?? null) : [];
        const { narrowed, full } = table.set(podIdx, desired);
        said.set(podIdx, desired);
        assert.ok(!full);
        const may = (list: readonly number[] | null, port: number): boolean => list?.includes(port) ?? true;
        const lost = [80, 81, 82, 83].some((port) => may(before, port) && !may(desired, port));
        assert.equal(narrowed, lost);
        if (anew) table = new NodePorts(map);
      }
      const expected = [...said].flatMap(([podIdx, list]) => (list ?? [0]).map((port) => `${podIdx}:${port}`));
      assert.deepEqual(rows(map), expected.toSorted());
    }),
  );
});

test("what does not fit is not reached, and said", () => {
  const map = tableOf(2);
  const table = new NodePorts(map);
  assert.deepEqual(table.set(1, [80, 81, 82]), { narrowed: false, full: true });
  assert.deepEqual(rows(map), ["1:80", "1:81"]);
  assert.deepEqual(table.set(1, [80, 82]), { narrowed: true, full: false });
  assert.deepEqual(rows(map), ["1:80", "1:82"]);
  table.set(1, []);
  assert.deepEqual(rows(map), []);
});
