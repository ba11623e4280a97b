// Edits of a head lie in the arena as native/engine/http/head_edits.cc reads them.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as abi from "../abi.ts";
import { type HeaderEdit, lengthOfEdits, writeEdits } from "./head-edits.ts";

test("each edit is three numbers, its name and its value, behind each other", () => {
  const edits: readonly HeaderEdit[] = [
    { op: "set", name: "x-a", value: "caf\u00e9" },
    { op: "add", name: "set-cookie", value: "" },
    { op: "remove", name: "x-b" },
  ];
  const to = Buffer.alloc(200, 0xff);
  const end = writeEdits(edits, to, 10);
  assert.equal(end - 10, lengthOfEdits(edits));
  const read: HeaderEdit[] = [];
  for (let at = 10; at < end; ) {
    const op = abi.headerOps[to.readUInt16LE(at)];
    const name = to.readUInt16LE(at + 2);
    const value = to.readUInt16LE(at + 4);
    const from = at + abi.ORLOP_HEAD_EDIT_PREFIX;
    const text = to.toString("latin1", from, from + name);
    if (op === "remove") read.push({ op, name: text });
    else if (op !== undefined)
      read.push({ op, name: text, value: to.toString("latin1", from + name, from + name + value) });
    at = from + name + value;
  }
  assert.deepEqual(read, edits);
  assert.equal(to[end], 0xff);
});
