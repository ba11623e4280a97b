// any thread · the filters of an HTTPRoute: readers. A filter that is known and not honoured refuses the route. Pure.
import { canonicalEscapes } from "../../l7/canonical.ts";
import type { Cors, FieldEdits, NamedValue, PathReplacement, Redirect, Rewrite } from "../../mesh/http-rule.ts";
import { dnsSubdomain, port } from "./fields.ts";
import { corsReader } from "./http-route-cors.ts";
import { fieldName, isPath } from "./http-route-match.ts";
import { mirrorReader, type ReadMirror } from "./http-route-mirror.ts";
import {
  integer,
  list,
  located,
  notHonoured,
  object,
  oneOf,
  optional,
  type Read,
  type Reader,
  required,
  string,
  text,
  wrongValue,
} from "./schema.ts";
import { quoted } from "./value.ts";

export type RouteFilter =
  | { readonly type: "RequestHeaderModifier" | "ResponseHeaderModifier"; readonly edits: FieldEdits }
  | { readonly type: "RequestRedirect"; readonly redirect: Redirect }
  | { readonly type: "CORS"; readonly cors: Cors }
  | { readonly type: "RequestMirror"; readonly mirror: ReadMirror }
  | { readonly type: "URLRewrite"; readonly rewrite: Rewrite };

/** Fields that say where a message ends, or that are of one connection, or ours. */
const untouchable =
  /^(?:connection|content-length|expect|host|http2-settings|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|x-orlop-.*)$/;

export const editedName: Reader<string> = (value, path, report) => {
  const name = fieldName(value, path, report);
  if (name === undefined || !untouchable.test(name)) return name;
  return wrongValue(
    value.from,
    `${path}: ${name} is not for a route to change`,
    "it says where a message ends or whose it is, and a wrong word there lets one request hide another",
    name === "host" ? "write URLRewrite.hostname" : "remove it",
    report,
  );
};

const fieldValue = text(
  "the value of a field",
  (written) => (/^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/.test(written) ? written : undefined),
  "what receives the message would read something else",
  "use printable ASCII, without space at its ends",
);

const edited: Reader<NamedValue> = object({ name: required(editedName), value: required(fieldValue) });

/** Characters of names and values of one filter: an answer to the engine has room for them. */
const MOST_EDITED = 3_000;

const editLists = object({
  set: optional(list(edited, { max: 16 }), []),
  add: optional(list(edited, { max: 16 }), []),
  remove: optional(list(editedName, { max: 16 }), []),
});

export const edits: Reader<FieldEdits> = (value, place, report) => {
  const read = editLists(value, place, report);
  if (read === undefined) return undefined;
  const written = [...read.set, ...read.add].reduce((sum, { name, value: text }) => sum + name.length + text.length, 0);
  if (written + read.remove.join("").length <= MOST_EDITED) return read;
  const what = `${place} has more than ${MOST_EDITED} characters of names and values`;
  return wrongValue(value.from, what, "each request would carry them", "write less", report);
};

const replacement: Reader<PathReplacement> = (value, place, report) => {
  const read = object({
    type: required(oneOf("ReplaceFullPath", "ReplacePrefixMatch")),
    replaceFullPath: optional(string, null),
    replacePrefixMatch: optional(string, null),
  })(value, place, report);
  if (read === undefined) return undefined;
  const kind = read.type === "ReplaceFullPath" ? "full" : "prefix";
  const written = kind === "full" ? read.replaceFullPath : read.replacePrefixMatch;
  const other = kind === "full" ? read.replacePrefixMatch : read.replaceFullPath;
  const isWritable = written !== null && other === null && (isPath(written) || (kind === "prefix" && written === ""));
  if (isWritable) return { kind, value: canonicalEscapes(written) };
  return wrongValue(
    value.from,
    `${place} has no path that ${read.type} could write`,
    "the request would go on with another path than the author means",
    `write ${kind === "full" ? "replaceFullPath" : "replacePrefixMatch"}, and in it a path that begins with /`,
    report,
  );
};

const hostname = optional<string | null>(dnsSubdomain, null);
const rewrite = object({ hostname, path: optional<PathReplacement | null>(replacement, null) });

const statuses = [301, 302, 303, 307, 308] as const;
const status: Reader<Redirect["status"]> = (value, place, report) => {
  const read = integer(300, 399)(value, place, report);
  const found = statuses.find((known) => known === read);
  if (read === undefined || found !== undefined) return found;
  const fix = `write one of ${statuses.join(", ")}`;
  return wrongValue(
    value.from,
    `${place}: ${read} is no redirect that is sent`,
    "a caller might not follow it",
    fix,
    report,
  );
};

const redirectFields = object({
  scheme: optional<"http" | "https" | null>(oneOf("http", "https"), null),
  hostname,
  path: optional<PathReplacement | null>(replacement, null),
  port: optional<number | null>(port, null),
  statusCode: optional<Redirect["status"]>(status, 302),
});

const redirect: Reader<Redirect> = (value, place, report) => {
  const read = redirectFields(value, place, report);
  if (read === undefined) return undefined;
  const { statusCode, ...rest } = read;
  return { ...rest, status: statusCode };
};

const [because, instead] = ["nothing would act on it", "remove the filter"];
const filter = object({
  type: required(located(string)),
  requestHeaderModifier: optional<FieldEdits | null>(edits, null),
  responseHeaderModifier: optional<FieldEdits | null>(edits, null),
  requestRedirect: optional<Redirect | null>(redirect, null),
  urlRewrite: optional<Rewrite | null>(rewrite, null),
  requestMirror: optional<ReadMirror | null>(mirrorReader, null),
  cors: optional<Cors | null>(corsReader, null),
  externalAuth: notHonoured(because, instead),
  extensionRef: notHonoured(because, instead),
});
type FilterParts = Read<typeof filter>;

export const filterReader: Reader<RouteFilter> = (value, place, report) => {
  const read = filter(value, place, report);
  if (read === undefined) return undefined;
  const found = filterOf(read);
  const parts = [
    read.requestHeaderModifier,
    read.responseHeaderModifier,
    read.requestRedirect,
    read.requestMirror,
    read.urlRewrite,
    read.cors,
  ];
  if (found !== undefined && parts.filter((part) => part !== null).length === 1) return found;
  return wrongValue(
    read.type.from,
    `${place}.type: ${quoted(read.type.value)} is no filter that is honoured, or its own field is missing or not the only one`,
    "the request would go on without what the filter is for",
    "filters: RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, CORS, each with its field",
    report,
  );
};

function filterOf(read: FilterParts): RouteFilter | undefined {
  const type = read.type.value;
  switch (type) {
    case "RequestHeaderModifier":
      return read.requestHeaderModifier === null ? undefined : { type, edits: read.requestHeaderModifier };
    case "ResponseHeaderModifier":
      return read.responseHeaderModifier === null ? undefined : { type, edits: read.responseHeaderModifier };
    case "RequestRedirect":
      return read.requestRedirect === null ? undefined : { type, redirect: read.requestRedirect };
    case "RequestMirror":
      return read.requestMirror === null ? undefined : { type, mirror: read.requestMirror };
    case "CORS":
      return read.cors === null ? undefined : { type, cors: read.cors };
    case "URLRewrite":
      return read.urlRewrite === null ? undefined : { type, rewrite: read.urlRewrite };
    default:
      return undefined;
  }
}
