// any thread · a rule's text of a header's value as it comes: bytes, of which each is a character here (request-fields.ts). Pure.
import type { StringMatch } from "../mesh/policies.ts";

const aboveAscii = /[\u0080-\uffff]/;
const beyondLatin1 = /[\u0100-\uffff]/;

/** In UTF-8, as Envoy compares. */
export function sentInUtf8(match: StringMatch): StringMatch {
  if (match.kind === "presence" || !aboveAscii.test(match.value)) return match;
  return { kind: match.kind, value: Buffer.from(match.value, "utf8").toString("latin1") };
}

/**
 * In UTF-8, and in Latin-1, which HTTP had before (RFC 9110 section 5.5), where it has all of the text. Of a list also as its fields are
 * joined when they are sent one by one (joined-values.ts): the space around a comma is free (section 5.6.1), and of Cookie a semicolon parts
 * what HTTP/2 and some clients send apart (RFC 9113 section 8.2.3).
 * @param name of the field, in lower case
 */
export function sentForms(name: string, match: StringMatch): readonly StringMatch[] {
  const utf8 = sentInUtf8(match);
  if (match.kind === "presence" || utf8.kind === "presence") return [utf8];
  const forms = utf8 === match || beyondLatin1.test(match.value) ? [utf8] : [utf8, match];
  const parted = name === "cookie" ? cookieParts : listParts;
  return forms.flatMap((form) => {
    const value = form.value.replace(parted, ",");
    return value === form.value ? [form] : [form, { kind: form.kind, value }];
  });
}

const listParts = / *, */g;
const cookieParts = / *[,;] */g;
