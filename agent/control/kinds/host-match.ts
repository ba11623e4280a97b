// any thread · a host of a rule as callers send it: names above ASCII come as xn-- labels (RFC 5891 section 5.5). Reader. Pure.
import { canonicalHost } from "../../l7/canonical.ts";
import { hostAsSent, isAboveAscii, nameAsSent } from "../../l7/host-as-sent.ts";
import type { StringMatch } from "../../mesh/policies.ts";
import { stringMatch } from "./fields.ts";
import { type Reader, wrongValue } from "./schema.ts";
import { quoted } from "./value.ts";

/** As `stringMatch`, of which no value has a character above ASCII: no caller would send it. */
export const hostMatch: Reader<StringMatch> = (value, path, report) => {
  const match = stringMatch(value, path, report);
  if (match === undefined || match.kind === "presence") return match;
  if (!isAboveAscii(match.value)) {
    if (match.kind === "exact" && canonicalHost(match.value).ambiguity !== null)
      report.unsupported(
        value.from,
        `${path}: ${quoted(match.value)} is no host of a request`,
        "hosts are compared without scheme, user and path, so this one never matches",
        "write the name alone, or with its port, such as api.example:8080",
      );
    return match;
  }
  const sent = asSent(match);
  if (sent !== undefined) return { kind: match.kind, value: sent };
  return wrongValue(
    value.from,
    `${path}: ${quoted(match.value)} cannot be written as callers send it`,
    "requests carry xn-- in place of labels above ASCII, a whole label at a time, so it would never match",
    "write whole labels, with a star only in place of others (*.b\u00fccher.example), or the xn-- form itself",
    report,
  );
};

/** undefined: it has no such form. A star may take the place of whole labels, or of a part of a label of ASCII alone. */
function asSent({ kind, value }: Exclude<StringMatch, { readonly kind: "presence" }>): string | undefined {
  if (kind === "exact") return hostAsSent(value);
  // Only the labels that the text has whole.
  const dot = kind === "suffix" ? value.indexOf(".") : value.lastIndexOf(".");
  const [part, whole] =
    kind === "suffix"
      ? [value.slice(0, dot + 1), value.slice(dot + 1)]
      : [value.slice(dot + 1), value.slice(0, dot + 1)];
  const sent = dot < 0 || isAboveAscii(part) ? undefined : nameAsSent(whole.replace(/\.$/, ""));
  if (sent === undefined) return undefined;
  return kind === "suffix" ? part + sent : `${sent}.${part}`;
}
