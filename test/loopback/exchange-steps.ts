// tests · the points of an exchange at which somebody may cut it, of HTTP/1 and of HTTP/2.

/** What the caller says and what the origin says, in the order of an exchange. A cut comes behind its step. */
export const steps = [
  "half-head",
  "head",
  "half-body",
  "body",
  "origin-heard",
  "half-response-head",
  "response-head",
  "half-response-body",
  "response",
] as const;
export type Step = (typeof steps)[number];
