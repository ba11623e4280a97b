// test cluster · what a fault proxy may do to an answer of an API server, and where in its bytes. Pure.

export type Fault =
  | { readonly kind: "pass" }
  /** The proxy answers in the server's place, which does not hear the question. */
  | {
      readonly kind: "answer";
      readonly status: number;
      readonly contentType: string;
      readonly body: string;
      readonly retryAfterS?: number;
    }
  /** After so many more bytes, but always in the middle of a line, the answer ends: as if it were whole, by a reset, or with the connection. */
  | { readonly kind: "cut"; readonly afterBytes: number; readonly how: "end" | "reset" | "disconnect" }
  /** After so many more bytes nothing comes for a while, ms; then the answer goes on. */
  | { readonly kind: "stall"; readonly afterBytes: number; readonly forMs: number }
  /** Few bytes at a time for a while, ms; then the answer goes on. */
  | { readonly kind: "trickle"; readonly bytes: number; readonly everyMs: number; readonly forMs: number }
  /** At the next end of a line the watch ends as the server ends it when it has forgotten the version: 410 inside a 200. */
  | { readonly kind: "expire" };

export const pass: Fault = { kind: "pass" };

const page = "<!doctype html><html><body>Please log in to use this network.</body></html>\n";
const status = (code: number, reason: string): string =>
  JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", reason, message: reason, code });

/** A captive portal, with the status of a success. */
export const html: Fault = { kind: "answer", status: 200, contentType: "text/html", body: page };

/** As the API server refuses. */
export function refusal(code: number, retryAfterS?: number): Fault {
  const body = status(code, `refused with ${code}`);
  const answer = { kind: "answer", status: code, contentType: "application/json", body } as const;
  return retryAfterS === undefined ? answer : { ...answer, retryAfterS };
}

/** The line with which a watch ends whose version the server has forgotten. */
export const expiredLine = `{"type":"ERROR","object":${status(410, "Expired")}}\n`;

const NEWLINE = 0x0a;

/** `byte` is the last that has passed, undefined before the first. */
export const isInLine = (byte: number | undefined): boolean => byte !== undefined && byte !== NEWLINE;

/** How many bytes of the chunk pass until at least `least` have and a line is under way; undefined: it takes more than the chunk. */
export function cutPoint(chunk: Uint8Array, least: number, last: number | undefined): number | undefined {
  for (let at = Math.max(0, least); at <= chunk.length; at++) if (isInLine(at === 0 ? last : chunk[at - 1])) return at;
  return undefined;
}

/** How many bytes of the chunk pass until no line is under way; undefined: it takes more than the chunk. */
export function lineEnd(chunk: Uint8Array, last: number | undefined): number | undefined {
  if (!isInLine(last)) return 0;
  const at = chunk.indexOf(NEWLINE);
  return at < 0 ? undefined : at + 1;
}
