// test support · requests of Node's own client on a connection that is read, what was heard of them, and how the engine says that they ended.
import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { RequestEnded } from "../../agent/engine/events.ts";
import type { Under } from "./read-engine.ts";

export type Response = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: NodeJS.Dict<string>;
};

/** A request on a connection of its own, by Node's client; `body` in these pieces. */
export async function ask(port: number, options: http.RequestOptions, body: readonly Buffer[] = []): Promise<Response> {
  const request = http.request({ host: "127.0.0.1", port, ...options });
  const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
  for (const part of body) request.write(part);
  request.end();
  const [response] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { statusCode: status = 0, headers, trailers } = response;
  return { status, headers, body: Buffer.concat(chunks), trailers };
}

export const ended = (under: Under): RequestEnded[] =>
  under.engine.events.filter((event) => event.type === "request-ended");
export const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
