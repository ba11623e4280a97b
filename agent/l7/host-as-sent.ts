// any thread · a host above ASCII as callers send it: with xn-- labels (RFC 5891 section 5.5). Pure.
import { domainToASCII } from "node:url";
import { canonicalHost } from "./canonical.ts";

const aboveAscii = /[\u0080-\uffff]/;
/** What a name above ASCII may have of ASCII; the function of the URL standard would cut the text off at a slash. */
const nameForm = /^[A-Za-z0-9._-]*$/;

export const isAboveAscii = (text: string): boolean => aboveAscii.test(text);

/** @param host a name, with a port or without; returned as it is where all of it is ASCII. undefined: no caller could send it */
export function hostAsSent(host: string): string | undefined {
  if (!isAboveAscii(host)) return host;
  const [, name = host, port = ""] = /^(.*?)(:[0-9]{1,5})?$/su.exec(host) ?? [];
  const sent = nameAsSent(name);
  return sent === undefined ? undefined : sent + port;
}

/** The same of a name without a port; in lower case. */
export function nameAsSent(name: string): string | undefined {
  if (!nameForm.test(name.replaceAll(/[\u0080-\uffff]/g, ""))) return undefined;
  const sent = domainToASCII(name);
  return sent === "" || canonicalHost(sent).ambiguity !== null ? undefined : sent;
}
