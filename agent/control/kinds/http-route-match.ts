// any thread · what a rule of an HTTPRoute compares, and its durations: readers. Pure.
import { canonicalEscapes } from "../../l7/canonical.ts";
import type { HttpMatch, NamedValue, PathCondition } from "../../mesh/http-rule.ts";
import { list, object, oneOf, optional, type Reader, required, string, text } from "./schema.ts";
import type { Report, Value } from "./value.ts";

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
const anyText: Reader<Value> = (value, place, report) =>
  string(value, place, report) === undefined ? undefined : value;

const PREFIX = "PathPrefix";

const path: Reader<PathCondition> = (value, place, report) => {
  const read = object({
    type: optional(oneOf("Exact", PREFIX, "RegularExpression"), PREFIX),
    value: optional(anyText, null),
  })(value, place, report);
  if (read === undefined) return undefined;
  if (read.type === "RegularExpression") return refuseExpression(value, place, report);
  const accepted = read.value === null ? "/" : absolutePath(read.value, `${place}.value`, report);
  if (accepted === undefined) return undefined;
  if (read.type === "Exact") return { kind: "exact", value: accepted };
  return { kind: "prefix", value: accepted.endsWith("/") ? accepted.slice(0, -1) : accepted };
};

function refuseExpression(value: Value, place: string, report: Report): undefined {
  return report.error({
    code: "ORL4106",
    from: value.from,
    what: `${place}: RegularExpression is not honoured`,
    why: "an expression of another's is not run where requests wait for it",
    fix: "compare exactly, or by PathPrefix",
  });
}

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

const pair = (name: Reader<string>): Reader<NamedValue> => {
  const read = object({
    type: optional(oneOf("Exact", "RegularExpression"), "Exact"),
    name: required(name),
    value: required(visible),
  });
  return (value, place, report) => {
    const found = read(value, place, report);
    if (found?.type === "RegularExpression") return refuseExpression(value, place, report);
    return found && { name: found.name, value: found.value };
  };
};

/** Of several entries of a name the first counts (gateway-api:apis/v1/httproute_types.go, HTTPRouteMatch). */
const firstOfEachName = (read: Reader<readonly NamedValue[]>): Reader<readonly NamedValue[]> => {
  return (value, place, report) =>
    read(value, place, report)?.filter(({ name }, at, all) => all.findIndex((other) => other.name === name) === at);
};

const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] as const;

const match = object({
  path: optional<PathCondition>(path, { kind: "prefix", value: "" }),
  method: optional(oneOf(...methods), null),
  headers: optional(firstOfEachName(list(pair(fieldName), { max: 16 })), []),
  queryParams: optional(firstOfEachName(list(pair(visible), { max: 16 })), []),
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
