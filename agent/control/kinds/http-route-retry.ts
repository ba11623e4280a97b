// any thread · `retry` of a rule of HTTPRoute (GEP-1731).
import type { RetryRule } from "../../mesh/http-rule.ts";
import { milliseconds } from "./http-route-match.ts";
import { integer, list, object, optional, type Reader } from "./schema.ts";

/** Where the API leaves it to an implementation. */
const ATTEMPTS = 2;
const BACKOFF_MS = 25;
const MOST_ATTEMPTS = 100;

const read = object({
  codes: optional(list(integer(400, 599)), []),
  attempts: optional(integer(0, MOST_ATTEMPTS), ATTEMPTS),
  backoff: optional(milliseconds, BACKOFF_MS),
});

export const retry: Reader<RetryRule> = (value, path, report) => {
  const found = read(value, path, report);
  return found && { codes: found.codes, attempts: found.attempts, backoffMs: found.backoff };
};
