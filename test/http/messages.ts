// tests · the requests of a connection, one behind the other, as the grammar reads them. Pure.
import { type BodyFound, findBody } from "./body-grammar.ts";
import { readHead } from "./grammar.ts";
import type { Head, HeadRefusal, Span } from "./head.ts";

export type Message = {
  readonly head: Head;
  /** Of the head, with its empty line. */
  readonly text: string;
  readonly body: BodyFound;
  /** Where the next message begins, if the body has ended. */
  readonly next: number;
};
/** `""`: no byte of a message has come; `cut`: its head has not come whole. */
export type NoMessage = "" | "cut" | HeadRefusal;

const headEnd = /\n\r?\n/g;

/** The request that begins at byte `at`; the connection ends behind the bytes. */
export function messageAt(bytes: Buffer, at: number): Message | NoMessage {
  if (at === bytes.length) return "";
  headEnd.lastIndex = 0;
  const rest = bytes.subarray(at).toString("latin1");
  const end = headEnd.exec(rest);
  if (end === null) return "cut";
  const length = end.index + end[0].length;
  const head = readHead("request", bytes.subarray(at, at + length));
  if (typeof head === "string") return head;
  const { framing, contentLength } = head;
  const body = findBody({ framing, length: contentLength, bytes: bytes.subarray(at + length), closes: true });
  return { head, text: rest.slice(0, length), body, next: at + length + body.used };
}

/** A part of the head. */
export const partOf = ({ text }: Pick<Message, "text">, [at, length]: Span): string => text.slice(at, at + length);
