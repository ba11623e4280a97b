// any thread · a route's annotation orlop.dev/fault: what is to go wrong, of how many requests, and until when. Reader. Pure.
import type { HttpFault } from "../../mesh/http-fault.ts";
import type { HttpRule } from "../../mesh/http-rule.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { milliseconds } from "./http-route-match.ts";
import { jsonValue } from "./json-value.ts";
import { FAULT } from "./labels.ts";
import { integer, object, optional, type Reader, required, string, text, wrongValue } from "./schema.ts";
import { quoted, type Report, wrong } from "./value.ts";

const placeOf = `metadata.annotations[${FAULT}]`;

/** The rule's name; empty: all rules of the route. */
type WrittenFault = { readonly rule: string; readonly fault: HttpFault };

/** The engine waits for an answer a little longer. */
const LONGEST_DELAY_MS = 5_000;

const instant = text(
  "a moment",
  (written) => {
    const isWhole = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?(?:Z|[+-]\d{2}:\d{2})$/.test(written);
    const ms = isWhole ? Date.parse(written) : Number.NaN;
    return Number.isNaN(ms) ? undefined : ms;
  },
  "a fault without an end is forgotten, and hurts for ever",
  "write date, time and zone, such as 2026-12-01T18:00:00Z (RFC 3339)",
);
const percent = optional(integer(1, 100), 100);

const delayed: Reader<number> = (value, path, report) => {
  const read = milliseconds(value, path, report);
  if (read === undefined || (read > 0 && read <= LONGEST_DELAY_MS)) return read;
  const what = `${path}: ${read} ms is no delay that is kept`;
  return wrongValue(value.from, what, "a request waits for its answer for six seconds", "write 1ms to 5s", report);
};

const written = object({
  rule: optional(string, ""),
  expires: required(instant),
  delay: optional(object({ fixed: required(delayed), percent }), null),
  abort: optional(object({ status: required(integer(200, 599)), percent }), null),
  reset: optional(object({ percent }), null),
});

/** The rules with the fault, if there is any. undefined: a mistake, which is reported. */
export function withFault(
  rules: readonly HttpRule[],
  annotations: Readonly<Record<string, string>>,
  from: SourceRef,
  report: Report,
): readonly HttpRule[] | undefined {
  const found = faultOf(annotations, from, report);
  if (found === undefined || found === null) return found === null ? rules : undefined;
  const isMeant = ({ name }: HttpRule): boolean => found.rule === "" || found.rule === name;
  if (rules.some(isMeant)) return rules.map((rule) => (isMeant(rule) ? { ...rule, fault: found.fault } : rule));
  const what = `${placeOf} names the rule ${quoted(found.rule)}`;
  return wrong(from, what, "no rule of the route has this name", "name a rule, or none for all of them", report);
}

/** @returns null: there is none. undefined: a mistake, which is reported. */
function faultOf(
  annotations: Readonly<Record<string, string>>,
  from: SourceRef,
  report: Report,
): WrittenFault | null | undefined {
  const found = annotations[FAULT];
  if (found === undefined) return null;
  let json: unknown;
  try {
    json = JSON.parse(found);
  } catch {
    return wrong(
      from,
      `${placeOf} is no JSON`,
      "nobody can say what is to go wrong",
      "write an object of JSON",
      report,
    );
  }
  const read = written(jsonValue(json, from), placeOf, report);
  if (read === undefined) return undefined;
  const { rule, expires, delay, abort, reset } = read;
  if (delay === null && abort === null && reset === null)
    return wrong(from, `${placeOf} names no fault`, "nothing would go wrong", "write delay, abort or reset", report);
  return { rule, fault: { expiresMs: expires, delay, abort, reset } };
}
