// any thread · a host of a rule as callers send it: names above ASCII come as xn-- labels (RFC 5891 section 5.5). Reader. Pure.
import { domainToASCII } from "node:url";
import { canonicalHost } from "../../l7/canonical.ts";
import type { StringMatch } from "../../mesh/policies.ts";
import { stringMatch } from "./fields.ts";
import { type Reader, wrongValue } from "./schema.ts";
import { quoted } from "./value.ts";

const aboveAscii = /[\u0080-\uffff]/;
/** What a name above ASCII may have of ASCII; the function of the URL standard would cut the text off at a slash. */
const nameForm = /^[A-Za-z0-9._-]*$/;

/** As `stringMatch`, of which no value has a character above ASCII: no caller would send it. */
export const hostMatch: Reader<StringMatch> = (value, path, report) => {
  const match = stringMatch(value, path, report);
  if (match === undefined || match.kind === "presence") return match;
  if (!aboveAscii.test(match.value)) {
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
  if (kind === "exact") {
    const [, name = value, port = ""] = /^(.*?)(:[0-9]{1,5})?$/su.exec(value) ?? [];
    const sent = nameAsSent(name);
    return sent === undefined ? undefined : sent + port;
  }
  // Only the labels that the text has whole.
  const dot = kind === "suffix" ? value.indexOf(".") : value.lastIndexOf(".");
  const [part, whole] =
    kind === "suffix"
      ? [value.slice(0, dot + 1), value.slice(dot + 1)]
      : [value.slice(dot + 1), value.slice(0, dot + 1)];
  const sent = dot < 0 || aboveAscii.test(part) ? undefined : nameAsSent(whole.replace(/\.$/, ""));
  if (sent === undefined) return undefined;
  return kind === "suffix" ? part + sent : `${sent}.${part}`;
}

function nameAsSent(name: string): string | undefined {
  if (!nameForm.test(name.replaceAll(/[\u0080-\uffff]/g, ""))) return undefined;
  const sent = domainToASCII(name);
  return sent === "" || canonicalHost(sent).ambiguity !== null ? undefined : sent;
}
