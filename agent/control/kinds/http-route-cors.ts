// any thread · the filter CORS of an HTTPRoute (gateway-api:geps/gep-1767): reader. Pure.
import { canonicalOrigin } from "../../l7/cors.ts";
import type { Cors } from "../../mesh/http-rule.ts";
import { boolean, integer, list, object, oneOf, optional, type Reader, text, wrongValue } from "./schema.ts";

const ANY = "*";
const MOST = 64;

/** The form that the API allows; a star is the first label, or the whole host. */
const form = /^https?:\/\/(?:(?:\*\.)?(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+|\*)(?::[0-9]{1,5})?$/;

const allowedOrigin = text(
  "an origin",
  (written) => {
    if (written === ANY) return ANY;
    if (!form.test(written)) return undefined;
    if (!written.includes("*")) return canonicalOrigin(written);
    // A host cannot hold a star, so a label takes its place while the rest is brought into canonical form.
    return canonicalOrigin(written.replace("*", "star-"))?.replace("star-", "*");
  },
  "no browser sends such an origin",
  "write *, or a scheme and a host such as https://shop.example or https://*.shop.example, with a port if it is not the usual",
);

const anyField = text<string>(
  "the name of a field",
  (name) => (name === ANY || /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$/.test(name) ? name.toLowerCase() : undefined),
  "no message has such a field",
  "use letters, digits and -, or write *",
);

const methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", ANY] as const;

const cors = object({
  allowOrigins: optional(list(allowedOrigin, { max: MOST }), []),
  allowCredentials: optional(boolean, false),
  allowMethods: optional(list(oneOf(...methods), { max: 9 }), []),
  allowHeaders: optional(list(anyField, { max: MOST }), []),
  exposeHeaders: optional(list(anyField, { max: MOST }), []),
  maxAge: optional(integer(1, 2_147_483_647), 5),
});

/** Characters that all names of a filter may have together: so many fit into an answer to the engine. */
const MOST_NAMED = 3_000;

export const corsReader: Reader<Cors> = (value, place, report) => {
  const read = cors(value, place, report);
  if (read === undefined) return undefined;
  const { allowOrigins, allowMethods, allowHeaders, exposeHeaders } = read;
  const mixed = [allowOrigins, allowMethods, allowHeaders].some((all) => all.length > 1 && all.includes(ANY));
  if (mixed) {
    const what = `${place} has * beside others`;
    return wrongValue(value.from, what, "nobody says what the others are for", "keep * alone, or the others", report);
  }
  if ([...allowHeaders, ...exposeHeaders].join().length > MOST_NAMED) {
    const what = `${place} has more than ${MOST_NAMED} characters of names`;
    return wrongValue(value.from, what, "each answer would carry them", "write less", report);
  }
  return {
    ...{ origins: allowOrigins, credentials: read.allowCredentials, methods: allowMethods },
    ...{ headers: allowHeaders, exposes: exposeHeaders, maxAgeSeconds: read.maxAge },
  };
};
