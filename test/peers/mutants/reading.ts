// test peers · what the agent must make of the bytes of a whole connection: the grammar of test/http read message after message, and the
// policy of mutants.peer.ts. Pure.
import { createHash } from "node:crypto";
import { canonicalPath } from "../../../agent/l7/canonical.ts";
import type { Head } from "../../http/head.ts";
import { type Message, messageAt, partOf } from "../../http/messages.ts";

export type Asked = {
  readonly method: string;
  /** As it came, without its query. */
  readonly path: string;
  /** As it goes on, or as it came where it is denied. */
  readonly target: string;
  readonly host: string;
  /** The policy denies its path, or the path is ambiguous. */
  readonly denied: boolean;
  /** False: its body is cut or refused. The origin may get its head, but must never take it for complete. */
  readonly whole: boolean;
  readonly length: number;
  readonly md5: string;
  /** HTTP/1.0: an origin may end the connection behind it, whatever the request says. */
  readonly oldVersion: boolean;
};
export type Connection = {
  readonly requests: readonly Asked[];
  /** The refusal that ends it; `cut`: it ends within a message; `not-http`; empty: it ends behind a message. */
  readonly refusal: string;
};

/** A denied request with a longer body is the last of its connection (docs/reference/http1.md). */
const DRAINED = 64 * 1024;
/** A connection that does not begin like this ends without an answer. */
const isHttp1 = /^(?:\r\n)?[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} [^\0-\x20\x7f]* HTTP\/1\./;

const pathOf = (target: string): string => target.split("?", 1)[0] ?? "";

/** The target that the application gets; undefined: the policy denies /denied and what is below, or the path is ambiguous. */
export function allowedTarget(target: string): string | undefined {
  const sent = pathOf(target);
  const { text, readings, ambiguity } = canonicalPath(sent);
  if (ambiguity !== null || readings.some((path) => /^\/denied(?:\/|$)/.test(path))) return undefined;
  return text + target.slice(sent.length);
}

/** Path and query, also of an absolute URI. */
function targetOf(message: Message): string {
  const { target, path, authority } = message.head;
  if (path[0] === target[0]) return partOf(message, target);
  const behind = message.text.slice(authority[0] + authority[1], target[0] + target[1]);
  return behind.startsWith("/") ? behind : `/${behind}`;
}

const md5Of = (bytes: Buffer): string => createHash("md5").update(bytes).digest("hex");

/** Whether the connection goes on behind the request when it is denied: its body is empty, or short and sure to come. */
const goesOn = ({ framing, contentLength, expectsContinue }: Head): boolean => {
  if (framing === "none") return true;
  return framing === "length" && contentLength <= (expectsContinue ? 0 : DRAINED);
};

export function readConnection(bytes: Buffer): Connection {
  const requests: Asked[] = [];
  const ended = (refusal: string): Connection => ({ requests, refusal });
  if (!isHttp1.test(bytes.toString("latin1"))) return ended("not-http");
  for (let at = 0; ; ) {
    const message = messageAt(bytes, at);
    if (typeof message === "string") return ended(message);
    const { head, body, next } = message;
    const { word, payload } = body;
    const sent = targetOf(message);
    const allowed = allowedTarget(sent);
    const denied = allowed === undefined;
    requests.push({
      ...{
        method: partOf(message, head.method),
        path: pathOf(sent),
        target: allowed ?? sent,
        host: partOf(message, head.authority),
        denied,
      },
      ...{ whole: word === "end", length: payload.length, md5: md5Of(payload), oldVersion: head.minor === 0 },
    });
    if (denied && !goesOn(head)) return ended("");
    if (word !== "end") return ended(word === "wait" ? "cut" : word);
    if (!head.persistent) return ended("");
    at = next;
  }
}
