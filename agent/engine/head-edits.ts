// 6 · data thread · edits of a head: plain data, and as the engine reads them.
import * as abi from "../abi.ts";

/**
 * What becomes of the fields that have this name, in letters of any case: "set" takes their place, "add" comes behind them, "remove" takes them
 * out. A name that is no token or belongs to framing or connection (Host, Content-Length, Connection, Transfer-Encoding, Upgrade, TE,
 * Trailer, Expect, Keep-Alive), and a value with a control byte, are refused by the engine. One character is one byte, as in events.
 */
export type HeaderEdit =
  | { readonly op: "set" | "add"; readonly name: string; readonly value: string }
  | { readonly op: "remove"; readonly name: string };

/** How many bytes they take in an answer. */
export function lengthOfEdits(edits: readonly HeaderEdit[]): number {
  let length = 0;
  for (const edit of edits) length += abi.ORLOP_HEAD_EDIT_PREFIX + edit.name.length + valueOfEdit(edit).length;
  return length;
}

/** Writes them to `at`; where they end. Together they are below 64 KiB. */
export function writeEdits(edits: readonly HeaderEdit[], to: Buffer, at: number): number {
  let next = at;
  for (const edit of edits) {
    const value = valueOfEdit(edit);
    next = to.writeUInt16LE(abi.headerOps.indexOf(edit.op), next);
    next = to.writeUInt16LE(edit.name.length, next);
    next = to.writeUInt16LE(value.length, next);
    next += to.write(edit.name, next, "latin1");
    next += to.write(value, next, "latin1");
  }
  return next;
}

const valueOfEdit = (edit: HeaderEdit): string => (edit.op === "remove" ? "" : edit.value);
