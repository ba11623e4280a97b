// any thread · a rule's text of a header's value as it comes: bytes, of which each is a character here (request-fields.ts). Pure.
import type { StringMatch } from "../mesh/policies.ts";

const aboveAscii = /[\u0080-\uffff]/;
const beyondLatin1 = /[\u0100-\uffff]/;

/** In UTF-8, as Envoy compares. */
export function sentInUtf8(match: StringMatch): StringMatch {
  if (match.kind === "presence" || !aboveAscii.test(match.value)) return match;
  return { kind: match.kind, value: Buffer.from(match.value, "utf8").toString("latin1") };
}

/** In UTF-8, and in Latin-1, which HTTP had before (RFC 9110 section 5.5), where it has all of the text. */
export function sentForms(match: StringMatch): readonly StringMatch[] {
  const utf8 = sentInUtf8(match);
  return utf8 === match || (match.kind !== "presence" && beyondLatin1.test(match.value)) ? [utf8] : [utf8, match];
}
