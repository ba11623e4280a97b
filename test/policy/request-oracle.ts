// The fields of a rule that only an HTTP request shows, judged a second time, naively, for the oracle. It shares no code with
// agent/l7 or agent/policy: it reads a path character by character and turns templates into regular expressions.
import { isIPv6 } from "node:net";
import type { Condition, Operation, PathMatch, StringMatch } from "../../agent/mesh/policies.ts";

/** A request as its bytes say it. */
export type OracleRequest = {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  /** Names in any case, in the order of arrival. */
  readonly headers: readonly (readonly [string, string])[];
};

/** "cannot tell": the rule cannot be read there. "unclear": the request is ambiguous there. Both deny, and never allow. */
type Answer = "yes" | "no" | "cannot tell" | "unclear";

/** What an ambiguous path, and an ambiguous host, count as. */
export type Unclear = { readonly paths: boolean; readonly hosts: boolean };

/** A whole template: segments, then perhaps `{**}` with more text. */
const grammar = /^(?:\/(?:\{\*\}|[^{}*/]*))*(?:\/\{\*\*\}(?:\/[^{}*/]*)*)?$/;

/** Whether a request shows all of the operation that a connection does not. */
export function isShown({ unreadable, paths, notPaths }: Operation): boolean {
  const isGood = (match: PathMatch): boolean =>
    match.kind !== "template" || (match.value.startsWith("/") && grammar.test(match.value));
  return unreadable.length === 0 && [...paths, ...notPaths].every(isGood);
}

/** The operation without its ports, each list on its own: a list that no request shows is left out, which a DENY may do. */
export function requestHolds(
  operation: Operation,
  isAllow: boolean,
  request: OracleRequest,
  unclear: Unclear = { paths: !isAllow, hosts: !isAllow },
): boolean {
  const of = (list: "hosts" | "methods" | "paths", not: boolean): Answer => {
    const name = { hosts: "notHosts", methods: "notMethods", paths: "notPaths" } as const;
    const values = not ? operation[name[list]] : operation[list];
    if (values.length === 0) return "yes";
    if (!isShown({ ...operation, unreadable: [], paths: values, notPaths: [] })) return "cannot tell";
    const matched = fieldMatches(list, values, request, isAllow === not);
    return matched === "unclear" ? matched : (matched === "yes") === not ? "no" : "yes";
  };
  return (["hosts", "methods", "paths"] as const).every((list) =>
    [of(list, false), of(list, true)].every((answer) => {
      if (answer === "unclear") return list === "methods" || unclear[list];
      return answer === "cannot tell" ? !isAllow : answer === "yes";
    }),
  );
}

/** @param generous whether any of several meanings is enough. */
function fieldMatches(
  list: "hosts" | "methods" | "paths",
  values: readonly PathMatch[],
  { method, target, authority }: OracleRequest,
  generous: boolean,
): "yes" | "no" | "unclear" {
  if (list === "methods") {
    const spelled = (text: string): string => (generous ? text.toUpperCase() : text);
    const matches = (match: PathMatch): boolean =>
      textMatches(match.kind === "presence" ? match : { ...match, value: spelled(match.value) }, spelled(method));
    return values.some(matches) ? "yes" : "no";
  }
  if (list === "hosts") {
    const meant = hostMeanings(authority);
    if (meant === undefined) return "unclear";
    const matches = (match: PathMatch): boolean => meant.some((text) => textMatches(hostRule(match), text));
    return values.some(matches) ? "yes" : "no";
  }
  const meant = pathMeanings(target.split("?")[0] ?? "");
  if (meant === undefined) return "unclear";
  const matches = (text: string): boolean => values.some((match) => pathMatches(match, text));
  // An application may decode the path before it looks for a handler.
  const decodedMatches = (text: string): boolean =>
    values.some((match) => match.kind !== "presence" && pathMatches(match, whollyDecoded(text), whollyDecoded));
  const generously = (text: string): boolean => matches(text) || decodedMatches(text);
  return (generous ? meant.some(generously) : meant.every(matches)) ? "yes" : "no";
}

/** The header that the condition is about, and whether it holds; undefined: no request shows what it is about. */
export function headerHolds(condition: Condition, isAllow: boolean, request: OracleRequest): boolean | undefined {
  const { key, http, strings, notStrings, cidrs, notCidrs, ports, notPorts } = condition;
  const begin = "request.headers[";
  const name = key.slice(begin.length, -1);
  if (
    !http ||
    !key.startsWith(begin) ||
    !key.endsWith("]") ||
    /[^!#$%&'*+.^_`|~0-9A-Za-z-]/.test(name) ||
    name === ""
  ) {
    return undefined;
  }
  const others = cidrs.length + notCidrs.length + ports.length + notPorts.length;
  if (strings.length + notStrings.length === 0 || others > 0) return undefined;
  const valuesOf = (spelling: (text: string) => string): readonly string[] =>
    request.headers.flatMap(([sentName, value]) => (spelling(sentName) === spelling(name) ? [value] : []));
  const values = valuesOf((text) => text.toLowerCase());
  // An application may take every sign in a name for the same sign.
  const alike = valuesOf((text) => text.toLowerCase().replace(/[^a-z0-9]/g, "?"));
  const utf8 = (list: readonly StringMatch[]): readonly StringMatch[] =>
    list.map((match) => (match.kind === "presence" ? match : { ...match, value: bytesOf(match.value) }));
  // As the fields of a list are joined here, without space around its commas; of Cookie a semicolon parts them, too.
  const pressed = (list: readonly StringMatch[]): readonly StringMatch[] =>
    list.map((match) =>
      match.kind === "presence"
        ? match
        : { ...match, value: match.value.replace(name.toLowerCase() === "cookie" ? / *[,;] */g : / *, */g, ",") },
    );
  const any = (list: readonly StringMatch[], text: string): boolean => list.some((match) => textMatches(match, text));
  const generously = (list: readonly StringMatch[]): boolean =>
    alike.length > 0 &&
    (list.some(({ kind }) => kind === "presence") ||
      [...alike, alike.join(","), ...(values.length > 0 ? [values.join(",")] : [])].some(
        (text) =>
          any(list, text) || any(utf8(list), text) || any(pressed(list), text) || any(pressed(utf8(list)), text),
      ));
  const all = (list: readonly StringMatch[], texts: readonly string[]): boolean =>
    any(utf8(list), texts.join(",")) || texts.every((text) => any(utf8(list), text));
  const sparingly = (list: readonly StringMatch[]): boolean =>
    values.length > 0 && all(list, values) && all(list, alike);
  const [is, not] = isAllow ? [sparingly, generously] : [generously, sparingly];
  return (strings.length === 0 || is(strings)) && (notStrings.length === 0 || !not(notStrings));
}

function textMatches(match: PathMatch, text: string): boolean {
  if (match.kind === "presence") return text.length > 0;
  if (match.kind === "prefix") return text.indexOf(match.value) === 0;
  if (match.kind === "suffix") return text.slice(-match.value.length) === match.value;
  return text === match.value;
}

/** Of UTF-8, a character each. */
function bytesOf(text: string): string {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

/** Each escape is its byte, but those that no clear path has, and those of `%`. */
function whollyDecoded(text: string): string {
  const parts = decoded(bytesOf(text)).split(/(%[0-9A-F]{2})/);
  const byteOf = (part: string): string => {
    const byte = Number.parseInt(part.slice(1), 16);
    return byte < 0x20 || [0x25, 0x2f, 0x5c, 0x7f].includes(byte) ? part : String.fromCharCode(byte);
  };
  return parts.map((part, at) => (at % 2 === 1 ? byteOf(part) : part)).join("");
}

function pathMatches(match: PathMatch, text: string, form: (part: string) => string = decoded): boolean {
  if (match.kind === "presence") return textMatches(match, text);
  if (match.kind !== "template") return textMatches({ ...match, value: form(match.value) }, text);
  const parts = match.value.split("/").map((part) => {
    if (part === "{*}") return "[^/]+";
    return part === "{**}" ? "(?:.*)" : form(part).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("/")}$`).test(text);
}

const isHex = (text: string): boolean => text.length === 2 && /^[0-9a-f]+$/i.test(text);

/** Every escape of a letter, digit, dot, hyphen, underscore or tilde is that character; others in upper case. */
function decoded(text: string): string {
  let out = "";
  for (let at = 0; at < text.length; at += 1) {
    const digits = text.slice(at + 1, at + 3);
    if (text[at] !== "%" || !isHex(digits)) {
      out += text[at] ?? "";
      continue;
    }
    const character = String.fromCharCode(Number(`0x${digits}`));
    out += /^[\w.~-]$/.test(character) ? character : `%${digits.toUpperCase()}`;
    at += 2;
  }
  return out;
}

/** undefined: two applications may disagree about it. */
function pathMeanings(path: string): readonly string[] | undefined {
  if (path === "*") return ["*"];
  if (!path.startsWith("/")) return undefined;
  const bytes: number[] = [];
  for (let at = 0; at < path.length; at += 1) {
    const code = path.charCodeAt(at);
    if (code <= 0x20 || code >= 0x7f || path[at] === "#" || path[at] === "\\") return undefined;
    if (path[at] !== "%") {
      bytes.push(-1);
      continue;
    }
    const digits = path.slice(at + 1, at + 3);
    if (!isHex(digits)) return undefined;
    const byte = Number.parseInt(digits, 16);
    if (byte < 0x20 || [0x7f, 0x2e, 0x2f, 0x5c, 0xc0, 0xc1].includes(byte)) return undefined;
    bytes.push(byte);
    at += 2;
  }
  // UTF-8 in more bytes than it needs.
  const isLong = (byte: number, at: number): boolean => {
    const next = bytes[at + 1] ?? -1;
    return (byte === 0xe0 && next >= 0x80 && next < 0xa0) || (byte === 0xf0 && next >= 0x80 && next < 0x90);
  };
  const text = decoded(path);
  if (bytes.some(isLong)) return undefined;
  if (text.split("%25").some((after, index) => index > 0 && isHex(after.slice(0, 2)))) return undefined;
  const segments = text.split("/").slice(1);
  const bare = segments.map((segment) => segment.split(/;|%3B/)[0] ?? "");
  if (bare.some((name, index) => name === "." || name === ".." || (name === "" && index < bare.length - 1)))
    return undefined;
  const meanings = [text, `/${bare.join("/")}`];
  return meanings.flatMap((meaning) =>
    meaning !== "/" && meaning.endsWith("/") ? [meaning, meaning.substring(0, meaning.length - 1)] : [meaning],
  );
}

/** The name, and `name:port` if a port is written; undefined: no host. */
function hostMeanings(authority: string): readonly string[] | undefined {
  const colon = authority.lastIndexOf(":");
  const hasPort = colon > authority.lastIndexOf("]");
  const [host, port] = hasPort ? [authority.slice(0, colon), authority.slice(colon + 1)] : [authority, ""];
  if (/[^0-9]/.test(port) || port.length > 5 || Number(port) > 65_535) return undefined;
  let name = host.toLowerCase();
  if (name.startsWith("[")) {
    if (!name.endsWith("]") || !isIPv6(name.slice(1, -1)) || name.includes("%")) return undefined;
    name = new URL(`http://${name}/`).hostname;
  } else {
    if (name.endsWith(".")) name = name.slice(0, -1);
    if (!/^[a-z0-9_-][a-z0-9_.-]*$/.test(name) || name.split(".").includes("") || name.length > 253) return undefined;
  }
  return port === "" ? [name] : [name, `${name}:${Number(port)}`];
}

function hostRule(match: PathMatch): PathMatch {
  if (match.kind === "presence") return match;
  const meant = match.kind === "exact" ? hostMeanings(match.value) : undefined;
  return { ...match, value: meant?.at(-1) ?? match.value.toLowerCase() };
}
