// main thread · an answer of an API server, before anybody has read its body; api-client.ts asks.

export type ApiAnswer = {
  readonly status: number;
  /** In lower case, without parameters. */
  readonly contentType: string;
  /** What Retry-After says, ms; null: nothing. */
  readonly retryAfterMs: number | null;
  /**
   * Rejects when the connection ends before the body does; with Silence when nothing comes for the time that `ask` was given; with
   * ServerLeaves when the server has sent GOAWAY and does not end the body soon.
   */
  readonly body: AsyncIterable<Uint8Array>;
};

/** What the body of a change is. A PATCH is a list of operations (RFC 6902). */
export const writeTypes = {
  ...{ POST: "application/json", PUT: "application/json" },
  PATCH: "application/json-patch+json",
} as const;

export type AskOptions = {
  readonly signal: AbortSignal;
  /** So long without a byte is an end, ms. */
  readonly idleMs: number;
  /** What is written; nothing: it is read (GET). Whether a change without an answer has happened, nobody knows. */
  readonly write?: { readonly method: keyof typeof writeTypes; readonly object: object };
};

/** Nothing came for the time that was given, on a connection that lives as far as anybody knows. */
export class Silence extends Error {}

/** The server takes its leave from this connection, and is to be asked over another. */
export class ServerLeaves extends Error {}

/** Rejects when nobody answers. A body that is not read to its end is cancelled. */
export type Ask = (path: string, options: AskOptions) => Promise<ApiAnswer>;
