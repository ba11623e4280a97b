// tests · random heads out of a seed: honest ones, and mutants that a smuggler would send or that a byte has changed. Pure.
import { mutated, type Random } from "../fuzz/mutate.ts";
import type { HeadKind } from "./head.ts";

const kinds: readonly [HeadKind, ...HeadKind[]] = ["request", "request", "request", "response", "response to HEAD"];

const pick = <T>(from: readonly [T, ...T[]], random: Random): T => from[random(from.length)] ?? from[0];
const cut = (length: number, random: Random): number => random(length + 1);

const methods = ["GET", "GET", "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "M-SEARCH", "QUERY"] as const;
const paths = [
  "/",
  "/accounts/7",
  "/a/b?c=d&e=%2f",
  "/a//b;x=1/../c",
  "/%7euser",
  "/x?y#z",
  '/"{|}'.slice(0, 3),
] as const;
const hosts = ["a", "api.shop.svc.cluster.local:8080", "10.0.0.1", "[fd00::1]:80", "A_b-c.d~", "a:", ""] as const;
const honest = [
  "User-Agent: curl/8.5.0",
  "Accept: */*",
  "accept-encoding: gzip, deflate, br",
  "Cookie: a=b; c=d",
  "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
  "X-Forwarded-For: 10.0.0.1, 10.0.0.2",
  "x-request-id: 5c0ffee5-0000-4000-8000-0000000000aa",
  "X-Orlop-Thing: 1",
  "x_orlop_thing: 1",
  "x.orlop~thing: 1",
  "Connection: keep-alive",
  "Connection: close",
  "Connection: te, Keep-Alive , ,x-request-id",
  "Proxy-Connection: keep-alive",
  "Keep-Alive: timeout=5",
  "TE: trailers",
  "TE:gzip;q=0.5, Trailers ",
  "Trailer: X-Sum",
  "Expect: 100-continue",
  "Expect: x,100-Continue",
  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA",
  "Upgrade: websocket, foo/2\r\nConnection: upgrade",
  "Empty:",
  "Blanks: \t x \t y\t ",
  "Latin: \xe4\xf6\xff",
] as const;
const bodies = [
  "Content-Length: 0",
  "content-length:  42\t",
  "Transfer-Encoding: chunked",
  "TRANSFER-ENCODING:\tChunked ",
] as const;

/** Lines that break a rule in some heads or in all. */
const hostile = [
  "Content-Length: 7",
  "Content-Length: +7",
  "Content-Length: 7, 7",
  "Content-Length: 0x7",
  "Content-Length:",
  "Content-Length: 9007199254740991",
  "Content-Length: 9007199254740992",
  "Content-Length: 99999999999999999999",
  "Content-Length: 7\0",
  "Content-Length: 1",
  "Content-Length: 0000000000000042",
  "Content-Length: 00000000000000042",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: identity, chunked",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: gzip\t,x,Chunked",
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: chunked, gzip",
  "Transfer-Encoding: gzip",
  "Transfer-Encoding: ,chunked",
  "Transfer-Encoding: \x0bchunked",
  "Transfer-Encoding:",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding\t: chunked",
  " Transfer-Encoding: chunked",
  "\tContent-Length: 7",
  "X: y\n z",
  "X: y\r\n\tz",
  "X: y\rz",
  "X: y\0z",
  "X\x7f: y",
  ": y",
  "X",
  "Host: b",
  "Host: a",
  "Host: u@a",
  "Host: a/b",
  "Host: a:65536",
  "host: [::1",
  "Host: [:]",
  "Connection: Host",
  "Connection: X-Forwarded-For, close",
  "Connection: content-length",
  "Connection: x_orlop_thing",
  "Connection: close close",
  'Connection: "close"',
  "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q",
  "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n",
  "Upgrade: web socket",
  "Upgrade: /1",
  "Upgrade: a/1/2",
  "Upgrade: a/",
] as const;
/** Names that Connection must not have, and some that only look like them. */
const options = [
  "authorization",
  "Cookie",
  "cookie2",
  "forwarded",
  "x-real-ip",
  "baggage",
  "TRACEPARENT",
  "tracestate",
  "trace",
  "x-forwarded-client-cert",
  "x-forwarded",
  "x-forwarded-",
  "x-envoy-a",
  "x-envoy",
  "x_envoy_a",
  "x.envoy~a",
  "x-orlop-",
  "x-orlop_a",
  "x-orlop",
  "X_orlop-a",
  "transfer-encoding",
  "transfer_encoding",
  "host",
  "hosts",
  "te",
] as const;
const hostileStarts = [
  "CONNECT a:80 HTTP/1.1",
  "GET * HTTP/1.1",
  "OPTIONS * HTTP/1.1",
  "GET http://a/x?y HTTP/1.1",
  "GET http://b HTTP/1.1",
  "GET http://u@a/ HTTP/1.1",
  "GET HTTP://A:80/ HTTP/1.0",
  "GET https://a/ HTTP/1.1",
  "GET /a#b HTTP/1.1",
  "GET /a\\b HTTP/1.1",
  "GET /\xe4 HTTP/1.1",
  "GET a HTTP/1.1",
  "GET / HTTP/2.0",
  "GET / HTTP/1.2",
  "GET / HTTP/0.9",
  "GET / http/1.1",
  "GET / HTTP/1.10",
  "GET /",
  "GET  / HTTP/1.1",
  "GET / HTTP/1.1 ",
  "GET\t/ HTTP/1.1",
  "PRI * HTTP/2.0",
  "HTTP/1.1 099 No",
  "HTTP/1.1 2000",
  "HTTP/1.1",
  "HTTP/1.1 200\tOK",
] as const;
const statuses = [
  "200 OK",
  "204 No Content",
  "304 Not Modified",
  "100 Continue",
  "101 Up",
  "404 \xe4",
  "503",
  "999 ",
] as const;
const ends = ["\n", "\r", "\r\r\n", "\n\r", " \r\n", "\r\n ", "\r\n\t", "\0\r\n", "\r\n\r\n", ""] as const;
const bytes = [
  "\0",
  "\t",
  "\n",
  "\r",
  " ",
  ":",
  ",",
  "/",
  "#",
  "\\",
  "@",
  "\x7f",
  "\x80",
  "\xff",
  "\x0b",
  "\x1f",
  '"',
  "\r\n",
] as const;

function startLine(kind: HeadKind, random: Random): string {
  const version = random(6) === 0 ? "HTTP/1.0" : "HTTP/1.1";
  if (kind !== "request") return `${version} ${pick(statuses, random)}`;
  return `${pick(methods, random)} ${pick(paths, random)} ${version}`;
}

/** Lines without their ends: the start-line, then fields. Most of these heads are right. */
function honestLines(kind: HeadKind, random: Random): string[] {
  const start = startLine(kind, random);
  const fields: string[] = Array.from({ length: random(8) }, () => pick(honest, random));
  if (random(3) === 0) fields.splice(cut(fields.length, random), 0, pick(bodies, random));
  if (kind === "request") fields.splice(cut(fields.length, random), 0, `Host: ${pick(hosts, random)}`);
  return [start, ...fields.flatMap((field) => field.split("\r\n"))];
}

function changeLines(lines: readonly string[], random: Random): string[] {
  const changed = [...lines];
  const where = 1 + random(changed.length);
  switch (random(8)) {
    case 0:
      changed[0] = pick(hostileStarts, random);
      break;
    case 1:
      changed.splice(where, 0, changed[where] ?? "Host: a");
      break;
    case 2:
      changed.splice(where, 1);
      break;
    case 3:
      if (random(8) === 0) {
        const some = 90 + random(20);
        changed.splice(where, 0, ...Array.from({ length: some }, (_, index) => `X-${index}: ${index}`));
      }
      break;
    case 4:
      changed.splice(where, 0, `Connection: ${pick(options, random)}`);
      break;
    default:
      changed.splice(where, 0, pick(hostile, random));
  }
  return changed;
}

function changeText(text: string, random: Random): string {
  const where = cut(text.length, random);
  switch (random(6)) {
    case 0: {
      const found = text.indexOf("\r\n", where);
      return found < 0 ? text : text.slice(0, found) + pick(ends, random) + text.slice(found + 2);
    }
    case 1:
      return text.slice(0, where) + pick(bytes, random) + text.slice(where);
    case 2:
      return text.slice(0, where) + pick(bytes, random) + text.slice(where + 1);
    case 3:
      return text.slice(0, where) + text.slice(where + 1 + random(4));
    case 4:
      return random(4) === 0 ? text.slice(0, where) : text + text.slice(where);
    default:
      return `\r\n${text}`;
  }
}

/** The last field grows until the head is as long as it may be, a little less or a little more. */
function grown(text: string, random: Random): string {
  const more = 60 * 1024 - text.length - 4 + random(3);
  return `${text.slice(0, -2)}X: ${"y".repeat(Math.max(0, more - 2))}\r\n\r\n`;
}

export type Sample = { readonly kind: HeadKind; readonly bytes: Buffer };

/** Half are honest; the others have one to three changes. `other` lends bytes to some. */
export function randomHead(random: Random, other: Buffer): Sample {
  const kind = pick(kinds, random);
  let lines = honestLines(kind, random);
  const changes = random(2) === 0 ? 0 : 1 + random(3);
  const inLines = random(3);
  if (inLines > 0) for (let count = changes; count > 0; count--) lines = changeLines(lines, random);
  let text = lines
    .map((line) => `${line}\r\n`)
    .join("")
    .concat("\r\n");
  if (random(250) === 0) text = grown(text, random);
  if (inLines === 0) for (let count = changes; count > 0; count--) text = changeText(text, random);
  const bytes = Buffer.from(text, "latin1");
  return { kind, bytes: changes > 0 && random(8) === 0 ? mutated(bytes, other, random) : bytes };
}
