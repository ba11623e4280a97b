// any thread · `sessionPersistence` of an HTTPRoute's rule (gateway-api:geps/gep-1619): reader. Pure.
import type { SessionPersistence } from "../../mesh/http-rule.ts";
import { editedName } from "./http-route-filters.ts";
import { milliseconds } from "./http-route-match.ts";
import { notHonoured, object, oneOf, optional, type Reader, string, wrongValue } from "./schema.ts";
import { quoted } from "./value.ts";

const fields = object({
  sessionName: optional(string, null),
  type: optional(oneOf("Cookie", "Header"), "Cookie"),
  absoluteTimeout: optional(milliseconds, 0),
  idleTimeout: notHonoured("a token does not know when it was used last", "write absoluteTimeout"),
  cookieConfig: optional(object({ lifetimeType: optional(oneOf("Session", "Permanent"), "Session") }), null),
});
/** RFC 6265, section 4.1.1. */
const cookieName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;

export const sessionPersistence: Reader<SessionPersistence> = (value, path, report) => {
  const read = fields(value, path, report);
  if (read === undefined) return undefined;
  const { sessionName, type, absoluteTimeout: lastsMs, cookieConfig } = read;
  const wrong = (what: string, why: string, fix: string): undefined =>
    wrongValue(value.from, `${path} ${what}`, why, fix, report);
  const isPermanent = cookieConfig?.lifetimeType === "Permanent";
  if (type === "Header" && cookieConfig !== null)
    return wrong("has a cookieConfig, and is of type Header", "there is no cookie", "remove cookieConfig");
  if (isPermanent && lastsMs === 0)
    return wrong("is Permanent without an absoluteTimeout", "nobody says when it ends", "write absoluteTimeout");
  if (sessionName === null) return { by: type === "Cookie" ? "cookie" : "header", name: null, lastsMs, isPermanent };
  if (type === "Header") {
    const name = editedName({ type: "string", value: sessionName, from: value.from }, `${path}.sessionName`, report);
    return name === undefined ? undefined : { by: "header", name, lastsMs, isPermanent };
  }
  if (cookieName.test(sessionName)) return { by: "cookie", name: sessionName, lastsMs, isPermanent };
  return wrong(`: ${quoted(sessionName)} is no name of a cookie`, "no caller would send it", "use letters and digits");
};
