// fuzz · what reads hostile or foreign bytes in TypeScript, and what must hold for any of them. A target gives a word for what
// happened (an input with a new word is kept) or throws: then something is wrong.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as abi from "../../agent/abi.ts";
import { ConfigError } from "../../agent/control/kinds/value.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { EventReader } from "../../agent/engine/event-reader.ts";
import { type Element, elements } from "../../agent/identity/der.ts";
import { readPeerCertificate } from "../../agent/identity/peer-certificate.ts";
import { parseRequest } from "../../agent/keeper/requests.ts";
import { readEvent } from "../../agent/kernel/events.ts";
import { clientHello, LONGEST_HELLO } from "../../agent/l7/client-hello.ts";
import { endpointText } from "../../agent/mesh/endpoint.ts";
import { canonicalIp, isIpv6, parseCidr } from "../../agent/mesh/ip.ts";
import { positionText } from "../../agent/mesh/source-ref.ts";
import { parseSpiffeId } from "../../agent/mesh/spiffe-id.ts";
import { parseAuthority } from "../../agent/plan/authority.ts";
import { hostOfForwarded, parseBaggage, traceIdOf } from "../../agent/plan/connect-headers.ts";
import { isOwnPort } from "../../agent/plan/ports.ts";
import { Bench } from "../../agent/traffic/traffic.fake.ts";
import { adminRequest } from "./admin-target.ts";
import { certificateMessage, signingRequest } from "./authority-targets.ts";

export type Target = (bytes: Buffer) => string | Promise<string>;

/** Identity or refusal; what is accepted says the same to OpenSSL's reader. */
function certificate(bytes: Buffer): string {
  const read = readPeerCertificate(bytes);
  if ("reject" in read) return read.reject;
  assert.equal(parseSpiffeId(read.spiffeId.text)?.text, read.spiffeId.text);
  let other: X509Certificate;
  try {
    other = new X509Certificate(bytes);
  } catch {
    return "no certificate to OpenSSL"; // Then no handshake brought it here.
  }
  const uris = other.subjectAltName?.split(", ").filter((name) => name.startsWith("URI:")) ?? [];
  assert.deepEqual(uris, [`URI:${read.spiffeId.text}`]);
  assert.equal(other.ca, false);
  return "identity";
}

/** What is read as a name is in the bytes, and what comes behind them changes nothing. */
function hello(bytes: Buffer): string {
  const read = clientHello(bytes);
  if (read.kind === "more") assert.ok(read.bytes > bytes.length && read.bytes <= LONGEST_HELLO);
  if (read.kind !== "hello") return read.kind;
  assert.deepEqual(clientHello(Buffer.concat([bytes, bytes])), read);
  if (read.serverName === null) return "no name";
  assert.match(read.serverName, /^[a-z0-9._-]{1,253}$/);
  assert.ok(bytes.toString("latin1").replace(/[^\w.-]/g, "").length >= read.serverName.length);
  return "a name";
}

function encoded({ tag, content }: Element): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const digits = Buffer.from(
    length.toString(16).padStart(length.toString(16).length + (length.toString(16).length % 2), "0"),
    "hex",
  );
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length]), digits, content]);
}

/** DER has one spelling: what was read, written again, is the same. */
function der(bytes: Buffer): string {
  const found = elements(bytes);
  if (found === undefined) return "refused";
  assert.ok(Buffer.concat(found.map(encoded)).equals(bytes));
  return `${Math.min(found.length, 9)} elements`;
}

/** An authority that is understood is spelled as we would spell it. */
function authority(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  const read = parseAuthority(text);
  if (read.kind !== "address") return read.kind;
  // What is in brackets is only compared, never resolved; what is without must be IPv4.
  if (!text.startsWith("[")) assert.equal(isIP(read.address), 4);
  assert.ok(read.port >= 1 && read.port <= 65_535);
  if (isIpv6(read.address)) assert.equal(endpointText(read), text);
  return `v${isIP(read.address)}`;
}

/** What becomes a label is short and printable. */
function headers(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  const said = [...Object.values(parseBaggage(text)), hostOfForwarded(text), traceIdOf(text)];
  for (const value of said) assert.match(value, /^[\x20-\x7e]{0,253}$/);
  return said.map((value) => (value === "" ? "-" : "x")).join("");
}

function address(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  const canonical = canonicalIp(text);
  const cidr = parseCidr(text);
  if (canonical === undefined) return cidr === undefined ? "neither" : "block";
  assert.equal(canonicalIp(canonical), canonical);
  assert.notEqual(isIP(text), 0);
  assert.ok(cidr !== undefined, "an address is a block of one");
  return isIpv6(canonical) ? "v6" : "v4";
}

function spiffeId(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  const read = parseSpiffeId(text);
  if (read === undefined) return "refused";
  assert.equal(`spiffe://${read.trustDomain}/ns/${read.namespace}/sa/${read.serviceAccount}`, text);
  assert.equal(new URL(text).href, text);
  return "identity";
}

/** From any sender: a request with exactly its fields, or a refusal with an id to answer. */
function keeperRequest(bytes: Buffer): string {
  const parsed = parseRequest(bytes.toString("utf8"));
  if (!parsed.ok) {
    assert.ok(Number.isInteger(parsed.id) && parsed.id >= 0);
    return parsed.message;
  }
  assert.deepEqual(parseRequest(JSON.stringify(parsed.request)), parsed);
  return parsed.request.op;
}

const arena = new ArrayBuffer(abi.ORLOP_ARENA_SIZE);
const reader = new EventReader(arena);

/** A record of the engine: an event, or the one exception that says the addon is another version. */
function engineEvent(bytes: Buffer): string {
  const record = Buffer.from(arena, abi.ORLOP_ARENA_EVENTS, abi.orlopEngineEvent.size);
  record.fill(0);
  bytes.copy(record);
  try {
    return reader.read(0).type;
  } catch (error) {
    assert.ok(error instanceof RangeError && error.message.includes("rebuild"), String(error));
    return "unknown";
  }
}

function kernelEvent(bytes: Buffer): string {
  const record = new Uint8Array(abi.orlopEvent.size);
  record.set(bytes.subarray(0, record.length));
  const event = readEvent(record, new DataView(record.buffer, record.byteOffset, record.byteLength));
  return event === undefined ? "unknown" : `${event.type} ${event.direction} ${event.reason} ${event.joined !== null}`;
}

const place = {
  node: "node-a",
  cluster: "Kubernetes",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: true,
  runtimeClasses: [],
};

/** A file: a mesh, or problems with their places and nothing else. */
function mesh(bytes: Buffer): string {
  try {
    const { updates } = translateTexts([{ file: "f.yaml", text: bytes.toString("utf8") }], place);
    return `mesh of ${Math.min(updates.length, 9)}`;
  } catch (error) {
    assert.ok(error instanceof ConfigError, error instanceof Error ? (error.stack ?? "") : String(error));
    const [first] = error.problems;
    assert.ok(first && first.what !== "" && positionText(first.from) !== "");
    return `${first.code} ${first.what.replaceAll(/[0-9"'].*/g, "")}`;
  }
}

const bench = new Bench().serve();

/** A verified peer's CONNECT, under a policy that allows all: dialled only where its authority is the pod's own and no port of ours. */
function connectRequest(bytes: Buffer): string {
  const [authority = "", baggage = "", forwarded = "", traceparent = ""] = bytes.toString("latin1").split("\0");
  const event = bench.connect(authority, { baggage, forwarded, traceparent });
  const answer = bench.engine.feed(event);
  assert.deepEqual(bench.faults.splice(0), []);
  assert.ok(answer?.type === "dial" || answer?.type === "refuse", answer?.type);
  if (answer.type === "dial") {
    const { address, port } = answer.to;
    assert.equal(`${address}:${port}`, authority);
    assert.equal(address, event.local.address);
    assert.ok(!isOwnPort(port));
    assert.match(answer.baggage, /^[\x20-\x7e]*$/);
  }
  bench.close(event, answer.type === "dial" ? "finished" : "refused");
  const { record, outcome } = bench.last();
  bench.ended.length = bench.asked.length = 0;
  return `${answer.type} ${outcome.flag} ${record.service !== null} ${record.traceId !== ""} ${record.source.workload?.uid}`;
}

export const targets: Readonly<Record<string, Target>> = {
  certificate,
  "client-hello": hello,
  der,
  authority,
  headers,
  "connect-request": connectRequest,
  address,
  "spiffe-id": spiffeId,
  "keeper-request": keeperRequest,
  "engine-event": engineEvent,
  "kernel-event": kernelEvent,
  mesh,
  "admin-request": adminRequest,
  "certificate-message": certificateMessage,
  "signing-request": signingRequest,
};
