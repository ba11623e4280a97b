// 15 · data thread · record → a line: ztunnel's shape and keys, ours after them (docs/reference/hbone.md#metrics-and-access-log).
// Whatever a peer sent, a record stays one line (docs/reference/failures.md, row B6).

import { statusMeant } from "../l7/grpc-status.ts";
import { type Endpoint, endpointText } from "../mesh/endpoint.ts";
import { quotedText } from "../mesh/terminal-text.ts";
import { encoded, type LineBytes } from "./line-bytes.ts";
import type { ConnectionRecord, Outcome, Party } from "./record.ts";
import type { RequestRecord } from "./request-record.ts";

export type AccessLogFormat = "text" | "json";

/** One field: key, value, and whether ztunnel writes it bare. */
type LogField = readonly [key: string, value: string | number, bare?: "bare"];

/** No value is longer than this many UTF-16 units; what a peer chose must not grow the log. */
const maxValueLength = 512;

export type AccessLineOptions = {
  /** Wall clock. */
  readonly atMs: number;
  readonly format: AccessLogFormat;
};

/** A connection in two parts: the record that those like it have in common (alike.ts), of which what is written is made once; and its own. */
export type EndedConnection = {
  readonly alike: ConnectionRecord;
  /** The caller's. */
  readonly port: number;
  readonly traceId: string;
};

/** Writes the line, its end included. */
export function writeAccessLine(
  into: LineBytes,
  { alike, port, traceId }: EndedConnection,
  outcome: Outcome,
  { atMs, format }: AccessLineOptions,
): void {
  const level = outcome.flag === "-" ? "info" : outcome.early ? "warn" : "error";
  const message = outcome.early ? "connection failed" : "connection complete";
  const { caller, ends, dialled, plain } = alikeParts(alike, format);
  const words = figureWords[format];
  // The line counts from the reporting pod's side: what the client's pod sent, the server's pod received.
  const ours = alike.reporter === "source";
  into.add(startOf(level, message, { atMs, format }));
  into.add(caller);
  into.addNumber(port);
  into.add(ends);
  into.addNumber(ours ? outcome.sentBytes : outcome.receivedBytes);
  into.add(words.received);
  into.addNumber(ours ? outcome.receivedBytes : outcome.sentBytes);
  into.add(words.duration);
  into.addNumber(Math.floor(outcome.durationUs / 1000));
  into.add(words.end);
  if (outcome.flag === "-" && outcome.decision === undefined) into.add(plain);
  else into.addText(unusualFields(alike, outcome, { dialled, format }));
  if (traceId !== "") into.addText(next([["trace_id", traceId]], format));
  into.add(ending[format][message]);
}

/** What is written between a connection's figures. */
const figureWords = {
  text: { received: encoded(" bytes_recv="), duration: encoded(' duration="'), end: encoded('ms"') },
  json: { received: encoded(',"bytes_recv":'), duration: encoded(',"duration":"'), end: encoded('ms"') },
} as const;

const endOfLine = encoded("\n");
const ending = {
  text: { "connection complete": endOfLine, "connection failed": endOfLine },
  json: {
    "connection complete": encoded(',"message":"connection complete"}\n'),
    "connection failed": encoded(',"message":"connection failed"}\n'),
  },
} as const;

type LineStart = AccessLineOptions & { readonly level: string; readonly message: string; readonly bytes: Uint8Array };
let latestStart: LineStart | undefined;

/** What comes before the first field; the lines of one millisecond have it alike. */
function startOf(level: string, message: string, { atMs, format }: AccessLineOptions): Uint8Array {
  const known = latestStart;
  if (known?.atMs === atMs && known.level === level && known.message === message && known.format === format)
    return known.bytes;
  const time = timeText(atMs);
  const bytes = encoded(format === "json" ? jsonStart(level, time) : textStart(level, message, time));
  latestStart = { atMs, format, level, message, bytes };
  return bytes;
}

const jsonStart = (level: string, time: string): string => `{"level":"${level}","time":"${time}","scope":"access",`;
const textStart = (level: string, message: string, time: string): string => `${time}\t${level}\taccess\t${message}\t`;

/** @param fields as `written` gives them. */
function lineOf(
  level: "info" | "warn" | "error",
  message: string,
  fields: string,
  { atMs, format }: { readonly atMs: number; readonly format: AccessLogFormat },
): string {
  const time = timeText(atMs);
  if (format === "json") return `${jsonStart(level, time)}${fields},"message":"${message}"}\n`;
  return `${textStart(level, message, time)}${fields}\n`;
}

let latestMs = Number.NaN;
let latestText = "";

/** Lines are made many in a millisecond. ztunnel writes microseconds; the clock here has milliseconds, so the last three digits are 0. */
function timeText(atMs: number): string {
  if (atMs !== latestMs) {
    latestText = `${new Date(atMs).toISOString().slice(0, -1)}000Z`;
    latestMs = atMs;
  }
  return latestText;
}

/** What lies between two fields. */
const between: Readonly<Record<AccessLogFormat, string>> = { text: " ", json: "," };

function written(fields: readonly (LogField | false)[], format: AccessLogFormat): string {
  const fieldText = format === "json" ? jsonField : textField;
  let text = "";
  for (const field of fields) {
    if (field !== false) text += text === "" ? fieldText(field) : between[format] + fieldText(field);
  }
  return text;
}

function jsonField([key, value]: LogField): string {
  return `${quoted(key)}:${typeof value === "number" ? value : quoted(value)}`;
}

function textField([key, value, bare]: LogField): string {
  return `${key}=${bare ? value : quoted(String(value))}`;
}

/** A request that took longer is slow enough for a line of its own. */
const SLOW_US = 1_000_000;

/** Which requests have a line; what is reported by AUDIT and dry-run policies has a line in either case. */
export type LoggedRequests = "errors" | "all";

/** Requests that went well are as many as the traffic: only what somebody may have to look into has a line. */
export function isNotable(record: RequestRecord): boolean {
  const { flag, decision, durationUs, route } = record;
  if (flag !== "-" || statusMeant(record) >= 500 || durationUs > SLOW_US) return true;
  // Nobody was asked: it is an answer of ours, or the far end judges.
  if (decision === null) return route === null;
  return decision.verdict === "deny" || decision.audited.length > 0 || decision.dryRunDenied.length > 0;
}

/** Keys of the connection are those of its own line; those of the request are Istio's (docs/reference/http1.md#records). */
export function requestLine(record: RequestRecord, atMs: number, format: AccessLogFormat): string {
  const isFailed = record.flag !== "-" || statusMeant(record) >= 500 || record.decision?.verdict === "deny";
  const fields = `${endsOf(record.connection, format)}${between[format]}${written(requestFields(record, atMs), format)}`;
  return lineOf(isFailed ? "error" : "info", "request complete", fields, { atMs, format });
}

/** Fields of a connection's ends, which are the same in the line of each of its requests. */
const endsByFormat: Readonly<Record<AccessLogFormat, WeakMap<ConnectionRecord, string>>> = {
  text: new WeakMap(),
  json: new WeakMap(),
};

function endsOf(connection: ConnectionRecord, format: AccessLogFormat): string {
  const known = endsByFormat[format].get(connection);
  if (known !== undefined) return known;
  const ends = written([["src.addr", bareEndpoint(connection.source), "bare"], ...endFields(connection)], format);
  endsByFormat[format].set(connection, ends);
  return ends;
}

/** What follows behind the connection's ends. */
function requestFields(record: RequestRecord, atMs: number): readonly (LogField | false)[] {
  const { connection, decision } = record;
  const denied = decision?.verdict === "deny" ? decision : null;
  return [
    // A request is judged where it arrives, also between two pods of one node; it is routed where it begins.
    ["direction", record.route === null ? "inbound" : "outbound"],
    ["start_time", new Date(atMs - record.durationUs / 1_000).toISOString()],
    ["method", record.method],
    ["path", record.path],
    ["authority", record.host],
    record.id !== "" && ["request_id", record.id],
    ["response_code", record.status, "bare"],
    // As Envoy's %GRPC_STATUS_NUMBER%.
    record.grpcStatus !== undefined && ["grpc_status", record.grpcStatus, "bare"],
    ["response_flags", record.flag],
    ["response_code_details", record.details],
    record.route !== null && record.route.name !== "" && ["route_name", record.route.name],
    record.attempts > 1 && ["attempts", record.attempts, "bare"],
    record.mirrors !== undefined && ["mirrors", record.mirrors.join(",")],
    record.refused !== null && ["refusal", record.refused.reason],
    ["bytes_received", record.requestBytes, "bare"],
    ["bytes_sent", record.responseBytes, "bare"],
    ["duration", `${Math.floor(record.durationUs / 1000)}ms`],
    ["security", connection.security],
    decision !== null && decision.policy !== "" && ["policy", decision.policy],
    denied?.reason != null && ["reason", denied.reason],
    denied !== null && denied.at !== "" && ["rule", denied.at],
    denied !== null && denied.nearestMiss !== "" && ["nearest_miss", denied.nearestMiss],
    decision !== null && decision.dryRunDenied.length > 0 && ["dry_run_denied", decision.dryRunDenied.join(",")],
    decision !== null && decision.audited.length > 0 && ["audited", decision.audited.join(",")],
    connection.traceId !== "" && ["trace_id", connection.traceId],
  ];
}

/** What is written of both ends but the caller's address. */
function endFields({ source, destination, hbone, service, security }: ConnectionRecord): readonly (LogField | false)[] {
  return [
    ...partyFields("src", source, security),
    ["dst.addr", bareEndpoint(destination), "bare"],
    hbone !== null && ["dst.hbone_addr", bareEndpoint(hbone), "bare"],
    service !== null && ["dst.service", service.hostname],
    ...partyFields("dst", destination, security),
  ];
}

/** Parts of a line that connections have alike: up to the caller's port, from there to the first figure, and what follows the figures of a connection that ended well. */
type AlikeParts = {
  readonly caller: Uint8Array;
  readonly ends: Uint8Array;
  readonly dialled: string;
  readonly plain: Uint8Array;
};
const alikeByFormat: Readonly<Record<AccessLogFormat, WeakMap<ConnectionRecord, AlikeParts>>> = {
  text: new WeakMap(),
  json: new WeakMap(),
};

function alikeParts(alike: ConnectionRecord, format: AccessLogFormat): AlikeParts {
  const known = alikeByFormat[format].get(alike);
  if (known !== undefined) return known;
  const { direction, dialled } = alike;
  const caller = written([["src.addr", bareEndpoint({ ...alike.source, port: 0 }), "bare"]], format);
  const sent = format === "json" ? ',"bytes_sent":' : " bytes_sent=";
  const dialledField = next([dialled !== null && ["dst.dialled_addr", bareEndpoint(dialled), "bare"]], format);
  const made = {
    caller: encoded(caller.slice(0, caller.lastIndexOf(":") + 1)),
    ends: encoded(closing[format] + next([...endFields(alike), ["direction", direction]], format) + sent),
    dialled: dialledField,
    plain: encoded(dialledField + next(verdictFields(alike, alike.decision), format)),
  };
  alikeByFormat[format].set(alike, made);
  return made;
}

function verdictFields(
  { security, unjudged }: ConnectionRecord,
  decision: ConnectionRecord["decision"],
): readonly (LogField | false)[] {
  const denied = decision?.verdict === "deny" ? decision : null;
  return [
    ["security", security],
    decision !== null && decision.policy !== "" && ["policy", decision.policy],
    denied?.reason != null && ["reason", denied.reason],
    unjudged !== null && ["reason", unjudged],
    denied !== null && denied.at !== "" && ["rule", denied.at],
    denied !== null && denied.nearestMiss !== "" && ["nearest_miss", denied.nearestMiss],
    decision !== null && decision.dryRunDenied.length > 0 && ["dry_run_denied", decision.dryRunDenied.join(",")],
    decision !== null && decision.audited.length > 0 && ["audited", decision.audited.join(",")],
  ];
}

/** The fields behind others. */
function next(fields: readonly (LogField | false)[], format: AccessLogFormat): string {
  const text = written(fields, format);
  return text === "" ? "" : between[format] + text;
}

/** Behind a value. */
const closing: Readonly<Record<AccessLogFormat, string>> = { text: "", json: '"' };

/** What follows the figures where the connection failed, or was decided anew. */
function unusualFields(
  alike: ConnectionRecord,
  outcome: Outcome,
  { dialled, format }: { readonly dialled: string; readonly format: AccessLogFormat },
): string {
  const decision = outcome.decision ?? alike.decision;
  const reason = decision?.verdict === "deny" ? decision.reason : null;
  const failed = outcome.flag !== "-";
  const error = failed ? next([["error", errorText(outcome, reason)]], format) : "";
  const flags = failed ? next([["response_flags", outcome.flag]], format) : "";
  return error + dialled + flags + next(verdictFields(alike, decision), format);
}

function partyFields(
  side: "src" | "dst",
  { workload, identity }: Party,
  security: ConnectionRecord["security"],
): readonly (LogField | false)[] {
  return [
    workload !== null && [`${side}.workload`, workload.name],
    workload !== null && [`${side}.namespace`, workload.namespace],
    // In plaintext the far end has no proof of it.
    identity !== null && security !== "none" && [`${side}.identity`, identity.text],
    workload !== null && workload.cluster !== "" && [`${side}.cluster`, workload.cluster],
  ];
}

function errorText(outcome: Outcome, reason: string | null): string {
  if (reason !== null) return `connection closed due to policy rejection: ${reason}`;
  return outcome.message === "" ? outcome.cause : `${outcome.cause}: ${outcome.message}`;
}

function bareEndpoint({ address, port }: Endpoint): string {
  // Addresses are canonical text by the time they are here, but this field is written bare.
  const safe = /^[0-9a-fA-F.:]*$/.test(address) ? address : address.replaceAll(/[^0-9a-fA-F.:]/g, "?");
  return endpointText({ address: safe, port });
}

/** Printable ASCII without quote and backslash: JSON is the text between quotes. Nearly every value is. */
const plain = /^[ !#-[\]-~]*$/;

/** `text` as a JSON string, in one line, with nothing a terminal would obey. */
export function quoted(text: string): string {
  if (text.length <= maxValueLength && plain.test(text)) return `"${text}"`;
  const short = text.length > maxValueLength ? `${text.slice(0, maxValueLength)}…` : text;
  return quotedText(short);
}
