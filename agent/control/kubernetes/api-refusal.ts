// main thread · the body of an API server's answer as a text or as JSON, and what makes it no answer to what was asked.
import type { ApiAnswer } from "./api-answer.ts";
import { StrangeAnswer } from "./watch-event.ts";

const MAX_BYTES = 64 * 1024 * 1024;

/** The server answered, and not with what was asked for. */
export class Refused extends Error {
  readonly status: number;
  readonly retryAfterMs: number | null;

  constructor({ status, retryAfterMs }: Pick<ApiAnswer, "status" | "retryAfterMs">, what: string) {
    super(`${what}: HTTP status ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** @throws when the body is longer than any answer, and what its reading throws */
export async function textOf({ body }: Pick<ApiAnswer, "body">): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`an answer of over ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/**
 * Passes a success in JSON. Its body is not read.
 * @throws Refused when it is no success; Error when it is no JSON: a captive portal's page is no data
 */
export async function expectJson(answer: ApiAnswer, what: string): Promise<void> {
  if (answer.status === 200 && answer.contentType === "application/json") return;
  const text = await textOf(answer).catch(() => "");
  const begins = JSON.stringify(text.slice(0, 120));
  if (answer.status !== 200) throw new Refused(answer, `${what}: ${begins}`);
  throw new Error(`${what} is ${answer.contentType}: ${begins}`);
}

/**
 * The object in a body that must be one object of this kind.
 * @throws StrangeAnswer when it is another
 */
export async function objectOf(answer: ApiAnswer, kind: string): Promise<Readonly<Record<string, unknown>>> {
  const text = await textOf(answer);
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    throw new StrangeAnswer(`no JSON, but ${JSON.stringify(text.slice(0, 80))}`);
  }
  if (typeof read === "object" && read !== null && "kind" in read && read.kind === kind)
    return read as Readonly<Record<string, unknown>>;
  throw new StrangeAnswer(`no ${kind}, but ${JSON.stringify(text.slice(0, 80))}`);
}
