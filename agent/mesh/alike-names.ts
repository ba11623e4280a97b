// 9 · any thread · names of fields that an application may take for each other. Pure.
import type { ReadHeader } from "./facts.ts";

/** Reads fields that are there as a list: names in small letters, in the order of arrival. */
export const headerOf =
  (fields: readonly (readonly [name: string, value: string])[]): ReadHeader =>
  (name, spelled) =>
    fields.flatMap(([sent, value]) =>
      sent === name || (spelled === "alike" && isAlikeName(sent, name)) ? [value] : [],
    );

/** Whether they differ only in signs (ReadHeader). Both are tokens in small letters. */
export function isAlikeName(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at += 1) if (!isAlikeByte(a.charCodeAt(at), b.charCodeAt(at))) return false;
  return true;
}

export const isAlikeByte = (a: number, b: number): boolean => a === b || (isSign(a) && isSign(b));

/** lighttpd writes `_` for whatever is no letter and no digit (lighttpd1.4:src/http_cgi.c), others for `-` alone. */
const isSign = (code: number): boolean => !(code >= 0x61 && code <= 0x7a) && !(code >= 0x30 && code <= 0x39);
