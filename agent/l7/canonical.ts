// 9 · any thread · the one meaning of a request's path and of its host, so that policy and application mean the same. Pure.
import type { RequestText } from "../mesh/facts.ts";
import { canonicalIp } from "../mesh/ip.ts";

/** Why nobody can know what an application makes of a path. A closed list. */
export type PathAmbiguity =
  | "not-a-path" //        no leading slash, or a byte that no path may hold
  | "backslash" //         some applications read it as a slash
  | "bad-escape" //        % without two hexadecimal digits
  | "encoded-separator" // %2f, %5c or %2e: a slash, backslash or dot for those who decode first
  | "encoded-control" //   %00 to %1f, %7f
  | "overlong" //          UTF-8 that is longer than it need be, which old decoders read as ASCII
  | "double-encoding" //   %25 and two hexadecimal digits
  | "empty-segment" //     //
  | "dot-segment" //       /. or /.., with parameters or without
  | "parameters"; //       without its ;parameters the path has an empty segment

/** Most paths are of unreserved characters alone, and no segment begins with a dot: they need no closer look. */
const plainPath = /^\/(?:[A-Za-z0-9_~-][A-Za-z0-9_~.-]*(?:\/|$))*$/;
/** Of the path as it came. */
const rawRefusals: readonly (readonly [PathAmbiguity, RegExp])[] = [
  ["not-a-path", /^[^/]|^$|[^\x21-\x7e]|[#?]/],
  ["backslash", /\\/],
  ["bad-escape", /%(?![0-9A-Fa-f]{2})/],
  ["encoded-separator", /%(?:2[EeFf]|5[Cc])/],
  ["encoded-control", /%(?:[01][0-9A-Fa-f]|7[Ff])/],
  ["overlong", /%(?:[Cc][01]|[Ee]0%[89]|[Ff]0%8)/],
];
/** Of the path with its unreserved characters decoded: they may complete what an attacker has split. */
const decodedRefusals: readonly (readonly [PathAmbiguity, RegExp])[] = [
  ["double-encoding", /%25[0-9A-Fa-f]{2}/],
  ["empty-segment", /\/\//],
  ["dot-segment", /\/\.{1,2}(?:[/;]|%3B|$)/],
];

const escapes = /%[0-9A-Fa-f]{2}/g;
const unreserved = /^[A-Za-z0-9._~-]$/;
/** RFC 3986 section 3.3 gives parameters no meaning; some applications cut them off, before decoding or after. */
const parameters = /(?:;|%3B)[^/]*/g;

/** Unreserved characters decoded, hexadecimal digits in upper case (RFC 3986, sections 6.2.2.1 and 6.2.2.2). */
export function canonicalEscapes(text: string): string {
  if (!text.includes("%")) return text;
  return text.replace(escapes, (escaped) => {
    const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16));
    return unreserved.test(character) ? character : escaped.toUpperCase();
  });
}

const aboveAscii = /[\u0080-\uffff]/;
/** What is never decoded: in a request it is ambiguous, or begins another escape. */
const kept = /^%(?:2F|5C|25|[01].|7F)$/;

/**
 * The text as an application reads it that decodes the path before it looks for a handler: `/a:b` of `/a%3Ab`. RFC 3986 section 2.2 keeps the two
 * apart, and nearly all applications do not. Characters above ASCII are bytes of UTF-8.
 */
export function decodedPath(text: string): string {
  const bytes = aboveAscii.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text;
  if (!bytes.includes("%")) return bytes;
  return canonicalEscapes(bytes).replace(escapes, (escaped) =>
    kept.test(escaped) ? escaped : String.fromCharCode(Number.parseInt(escaped.slice(1), 16)),
  );
}

/**
 * @param path of the request's target, without its query. `*` (OPTIONS) stays as it is.
 * @returns readings: the canonical path first, which is also what is to be forwarded; then the path without its ;parameters and
 * without one trailing slash, in every combination, as an application may read it.
 */
export function canonicalPath(path: string): RequestText {
  if (plainPath.test(path)) {
    const isClosed = path.length > 1 && path.endsWith("/");
    return { text: path, readings: isClosed ? [path, path.slice(0, -1)] : [path], ambiguity: null };
  }
  if (path === "*") return { text: path, readings: [path], ambiguity: null };
  const raw = rawRefusals.find(([, pattern]) => pattern.test(path));
  if (raw !== undefined) return ambiguous(path, raw[0]);
  const canonical = canonicalEscapes(path);
  const decoded = decodedRefusals.find(([, pattern]) => pattern.test(canonical));
  if (decoded !== undefined) return ambiguous(path, decoded[0]);
  const bare = canonical.replace(parameters, "");
  if (bare.includes("//")) return ambiguous(path, "parameters");
  const readings = withoutSlash(bare === canonical ? [canonical] : [canonical, bare]);
  return { text: canonical, readings, ambiguity: null };
}

/** The paths, then those of them that end in a slash without it. */
function withoutSlash(paths: readonly string[]): readonly string[] {
  const closed = paths.filter((path) => path.length > 1 && path.endsWith("/"));
  return closed.length === 0 ? paths : [...paths, ...closed.map((path) => path.slice(0, -1))];
}

function ambiguous(text: string, ambiguity: string): RequestText {
  return { text, readings: [], ambiguity };
}

/** Names as DNS and its users write them; an underscore is common inside clusters. International names come as xn--. */
const hostAndPort = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_-][a-z0-9_.-]{0,253}))(?::([0-9]{0,5}))?$/;

/** Most hosts are a name in lower case without port. */
const plainHost = /^(?:[a-z0-9_-]+\.)*[a-z0-9_-]+$/;

/**
 * @param authority of the request: the field Host, or :authority.
 * @returns readings: the name in lower case without port and trailing dot; where a port was written, also `name:port`.
 */
export function canonicalHost(authority: string): RequestText {
  // Most requests name the host that the request before them named.
  if (authority === lastHost.authority) return lastHost.meaning;
  const meaning = meaningOfHost(authority);
  lastHost = { authority, meaning };
  return meaning;
}

let lastHost: { readonly authority: string; readonly meaning: RequestText } = {
  authority: "",
  meaning: meaningOfHost(""),
};

function meaningOfHost(authority: string): RequestText {
  if (authority.length <= 253 && plainHost.test(authority)) {
    return { text: authority, readings: [authority], ambiguity: null };
  }
  const [whole, literal, written = "", digits = ""] = hostAndPort.exec(authority.toLowerCase()) ?? [];
  if (whole === undefined) return ambiguous(authority, "not-a-host");
  const address = literal === undefined ? undefined : canonicalIp(literal);
  const name = literal === undefined ? written.replace(/\.$/, "") : `[${address ?? ""}]`;
  const port = Number(digits);
  const isWritable = literal === undefined || address?.includes(":") === true;
  if (!isWritable || name.length > 253 || name.endsWith(".") || name.includes("..") || port > 65_535) {
    return ambiguous(authority, "not-a-host");
  }
  return { text: name, readings: digits === "" ? [name] : [name, `${name}:${port}`], ambiguity: null };
}
