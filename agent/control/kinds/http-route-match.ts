// any thread · what a rule of an HTTPRoute compares, and its durations: readers. Pure.
import { canonicalEscapes } from "../../l7/canonical.ts";
import { automatonOf } from "../../l7/expression.ts";
import type { HttpMatch, PathCondition, ValueCondition } from "../../mesh/http-rule.ts";
import { list, object, oneOf, optional, type Reader, required, string, text, wrongValue } from "./schema.ts";
import type { Value } from "./value.ts";

const absolutePath = text(
  "a path as requests have it",
  (written) => (isPath(written) ? canonicalEscapes(written) : undefined),
  "no request has such a path, or applications read it differently",
  "begin with /; write no //, no dot segments, no %2f and no ? or #",
);

/** Characters of RFC 3986, section 3.3; what is ambiguous in a request can be no condition. */
export function isPath(written: string): boolean {
  return (
    /^\/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$/.test(written) &&
    !/\/\/|\/\.{1,2}(?:\/|$)|%2[EeFf]|%5[Cc]|%[01]|%7[Ff]/.test(written)
  );
}

/** A text as it is written, to be read when it is known what it has to be. */
export const anyText: Reader<Value> = (value, place, report) =>
  string(value, place, report) === undefined ? undefined : value;

/** A regular expression over a whole text: refused, with its place, if it is none or needs more than is kept. */
export const expression: Reader<string> = (value, place, report) => {
  const written = string(value, place, report);
  if (written === undefined) return undefined;
  const made = automatonOf(written);
  if (!("what" in made)) return written;
  return wrongValue(
    value.from,
    `${place}: the expression cannot be honoured, at its character ${made.at + 1}: ${made.what}`,
    "it is made into a table of bounded size, so that no text that a caller sends takes long",
    "write RE2's syntax over printable ASCII, without \\p, references and what looks ahead or behind",
    report,
  );
};

/** The types are read before the expressions, since making those takes time. */
const MOST_EXPRESSIONS = 64;

/** The same, refused where a route has more expressions than are read. */
export function withFewExpressions<T>(read: Reader<T>): Reader<T> {
  return (document, path, report) =>
    hasFewExpressions(document)
      ? read(document, path, report)
      : wrongValue(
          document.from,
          `the route has more than ${MOST_EXPRESSIONS} regular expressions`,
          "each is made into a table when the route is read, on every node",
          `keep ${MOST_EXPRESSIONS}; alternatives can be written as a|b`,
          report,
        );
}

function hasFewExpressions(document: Value): boolean {
  let count = 0;
  const walk = [document];
  // Grows while it is walked.
  for (const value of walk) {
    if (value.type === "string" && value.value === "RegularExpression") count += 1;
    if (value.type === "list") walk.push(...value.items);
    if (value.type === "map") for (const entry of value.entries.values()) walk.push(entry.value);
  }
  return count <= MOST_EXPRESSIONS;
}

const PREFIX = "PathPrefix";

const path: Reader<PathCondition> = (value, place, report) => {
  const read = object({
    type: optional(oneOf("Exact", PREFIX, "RegularExpression"), PREFIX),
    value: optional(anyText, null),
  })(value, place, report);
  if (read === undefined) return undefined;
  if (read.type === "RegularExpression") {
    const whole = read.value === null ? "/" : expression(read.value, `${place}.value`, report);
    return whole === undefined ? undefined : { kind: "expression", value: whole };
  }
  const accepted = read.value === null ? "/" : absolutePath(read.value, `${place}.value`, report);
  if (accepted === undefined) return undefined;
  if (read.type === "Exact") return { kind: "exact", value: accepted };
  return { kind: "prefix", value: accepted.endsWith("/") ? accepted.slice(0, -1) : accepted };
};

/** A token (RFC 9110, section 5.6.2). Read in lower case: names of fields have no case. */
export const fieldName = text(
  "the name of a field",
  (name) => (/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$/.test(name) ? name.toLowerCase() : undefined),
  "no message has such a field",
  "use letters, digits and -",
);

const visible = text(
  "text of visible characters",
  (written) => (/^[\x20-\x7e]{1,4096}$/.test(written) ? written : undefined),
  "a field could not hold it",
  "use printable ASCII",
);

export const condition = (name: Reader<string>): Reader<ValueCondition> => {
  const read = object({
    type: optional(oneOf("Exact", "RegularExpression"), "Exact"),
    name: required(name),
    value: required(anyText),
  });
  return (value, place, report) => {
    const found = read(value, place, report);
    if (found === undefined) return undefined;
    const isExact = found.type === "Exact";
    const wanted = (isExact ? visible : expression)(found.value, `${place}.value`, report);
    return wanted === undefined
      ? undefined
      : { kind: isExact ? "exact" : "expression", name: found.name, value: wanted };
  };
};

/** Of several entries of a name the first counts (gateway-api:apis/v1/httproute_types.go, HTTPRouteMatch). */
export const firstOfEachName = (read: Reader<readonly ValueCondition[]>): Reader<readonly ValueCondition[]> => {
  return (value, place, report) =>
    read(value, place, report)?.filter(({ name }, at, all) => all.findIndex((other) => other.name === name) === at);
};

const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] as const;

const match = object({
  path: optional<PathCondition>(path, { kind: "prefix", value: "" }),
  method: optional(oneOf(...methods), null),
  headers: optional(firstOfEachName(list(condition(fieldName), { max: 16 })), []),
  queryParams: optional(firstOfEachName(list(condition(visible), { max: 16 })), []),
});

export const httpMatch: Reader<HttpMatch> = (value, place, report) => {
  const read = match(value, place, report);
  return read && { path: read.path, method: read.method, headers: read.headers, query: read.queryParams };
};

const unitsMs: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** Gateway API's Duration (GEP-2257), in milliseconds. */
export const milliseconds = text(
  "a duration",
  (written) => {
    if (!/^(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}$/.test(written)) return undefined;
    let sum = 0;
    for (const [, count = "", unit = ""] of written.matchAll(/([0-9]+)(h|ms|m|s)/g))
      sum += Number(count) * (unitsMs[unit] ?? 0);
    return sum;
  },
  "a request could not be ended by it",
  "write whole numbers with h, m, s or ms, such as 1s or 250ms; 0s is no limit",
);
