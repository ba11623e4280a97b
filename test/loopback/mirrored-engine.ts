// test support · a served connection whose requests are copied: the first origin answers, the others get copies; what became of them.
import type http from "node:http";
import type { MirrorCopy } from "../../agent/engine/answers.ts";
import type { MirrorEnd, RequestEvent } from "../../agent/engine/events.ts";
import { type Served, to } from "./origin-engine.ts";

export const copyTo = (origin: number, more: Partial<MirrorCopy> = {}): MirrorCopy => ({
  ...{ origin, target: "", authority: "", removesProxyHeaders: false },
  requestHeaders: [
    { op: "remove", name: "authorization" },
    { op: "remove", name: "cookie" },
  ],
  ...more,
});

/** The first origin answers, and the others get copies. */
export const mirrored =
  (...copies: readonly MirrorCopy[]) =>
  (event: RequestEvent) =>
    to(event, 1, { mirrors: copies });

export const endsOf = ({ engine }: Pick<Served, "engine">): MirrorEnd[] =>
  engine.events.flatMap((event) => (event.type === "mirror-ended" ? [event.end] : []));

export const countOf = (ends: readonly MirrorEnd[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const end of ends) counts[end] = (counts[end] ?? 0) + 1;
  return counts;
};

export type Got = { readonly headers: http.IncomingHttpHeaders; readonly url: string; readonly body: Buffer };

/** By the field `x-nth`. */
export const listens = (answer: string) => {
  const got = new Map<string, Got>();
  const listener: http.RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("error", () => {});
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { headers, url = "" } = request;
      got.set(String(headers["x-nth"]), { headers, url, body: Buffer.concat(chunks) });
      response.end(answer);
    });
  };
  return { got, listener };
};
