// 6 · data thread · Answer → arena records. Refuses what the engine could not read: addresses that are none, too much text.
import * as abi from "../abi.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import { writeIp } from "../mesh/ip.ts";
import type { Answer, MirrorCopy, Origin, OriginPool } from "./answers.ts";
import type { ConnRef } from "./events.ts";
import { type HeaderEdit, lengthOfEdits, writeEdits } from "./head-edits.ts";

const record = abi.orlopEngineAnswer;
const types: Readonly<Record<Answer["type"], number>> = abi.answerTypes;
const noTexts = ["", "", "", ""] as const;
const ways: readonly Origin["route"]["type"][] = abi.originWays;
const asksBits = { unsent: abi.ORLOP_FORWARD_ASKS_UNSENT, any: abi.ORLOP_FORWARD_ASKS_ANY } as const;
/** What a field can say: 24 days. Callers of gRPC watch for longer than hours. */
const longestMs = 2 ** 31 - 1;

/** Where a writer's records and text lie, in bytes from the arena's start. */
export type AnswerArea = { readonly records: number; readonly text: number; readonly textSize: number };

export class AnswerWriter {
  readonly #view: DataView;
  /** Records and their fields of four bytes lie aligned, in the order of the machine that engine and agent share. */
  readonly #words: Uint32Array;
  readonly #buffer: Buffer;
  readonly #area: AnswerArea;
  #count = 0;
  #textLength = 0;

  constructor(arena: ArrayBuffer, area: AnswerArea) {
    this.#view = new DataView(arena);
    this.#words = new Uint32Array(arena, 0, arena.byteLength >> 2);
    this.#buffer = Buffer.from(arena);
    this.#area = area;
  }

  get count(): number {
    return this.#count;
  }

  restart(): void {
    this.#count = 0;
    this.#textLength = 0;
  }

  /** False: no room for its text, nothing written. Throws a RangeError when an address or the text is unusable. */
  write(answer: Answer): boolean {
    const at = this.#area.records + this.#count * record.size;
    const words = this.#words;
    words[(at + record.type) >> 2] = types[answer.type];
    words[(at + record.conn) >> 2] = answer.conn;
    words[(at + record.generation) >> 2] = answer.generation;
    switch (answer.type) {
      case "relay":
        this.#endpoint(at + record.to, answer.to);
        break;
      case "tunnel":
        this.#endpoint(at + record.to, answer.to);
        words[(at + record.identity) >> 2] = answer.identity;
        words[(at + record.expect) >> 2] = answer.expect;
        words[(at + record.requests) >> 2] = answer.reportsNotReached === true ? abi.ORLOP_REPORTS_NOT_REACHED : 0;
        if (!this.#texts(at, answer.authority, answer.baggage, answer.forwarded, answer.traceparent)) return false;
        break;
      case "dial":
        words[(at + record.podIdx) >> 2] = answer.podIdx;
        this.#endpoint(at + record.to, answer.to);
        // Port 0: the engine chooses.
        this.#endpoint(at + record.from, answer.from, 0);
        words[(at + record.requests) >> 2] =
          abi.httpReadings.indexOf(answer.reading ?? "unread") +
          (answer.reportsNotReached === true ? abi.ORLOP_REPORTS_NOT_REACHED : 0);
        if (!this.#texts(at, "", answer.baggage, "", "")) return false;
        break;
      case "refuse":
        words[(at + record.status) >> 2] = answer.status;
        break;
      case "forward":
        words[(at + record.expect) >> 2] = answer.request;
        words[(at + record.podIdx) >> 2] = answer.origin ?? 0;
        words[(at + record.status) >> 2] = milliseconds(answer.timeoutMs);
        words[(at + record.identity) >> 2] = milliseconds(answer.tryTimeoutMs);
        words[(at + record.requests) >> 2] =
          (answer.removesProxyHeaders === true ? abi.ORLOP_FORWARD_WITHOUT_PROXY_HEADERS : 0) +
          (answer.asks === undefined ? 0 : asksBits[answer.asks]);
        if (!this.#texts(at, answer.target, answer.authority ?? "", "", "")) return false;
        if (answer.requestHeaders !== undefined && !this.#edits(at, 2, answer.requestHeaders)) return false;
        if (answer.responseHeaders !== undefined && !this.#edits(at, 3, answer.responseHeaders)) return false;
        break;
      case "reply":
        words[(at + record.expect) >> 2] = answer.request;
        words[(at + record.status) >> 2] = answer.status;
        if (!this.#texts(at, answer.body, "", "", "")) return false;
        if (answer.headers !== undefined && !this.#edits(at, 1, answer.headers)) return false;
        break;
      case "pass":
      case "reset":
        words[(at + record.expect) >> 2] = answer.request;
        break;
      case "hold":
        words[(at + record.expect) >> 2] = answer.request;
        words[(at + record.status) >> 2] = milliseconds(answer.ms);
        break;
      case "peek":
        words[(at + record.status) >> 2] = answer.bytes;
        break;
      case "peer":
        words[(at + record.identity) >> 2] = answer.peerIdentity;
        break;
    }
    this.#count++;
    return true;
  }

  /** A copy of the request that `forward` is about, which has to follow. Otherwise as `write`. */
  writeMirror(forward: ConnRef & { readonly request: number }, copy: MirrorCopy): boolean {
    const at = this.#area.records + this.#count * record.size;
    const words = this.#words;
    words[(at + record.type) >> 2] = abi.answerTypes.mirror;
    words[(at + record.conn) >> 2] = forward.conn;
    words[(at + record.generation) >> 2] = forward.generation;
    words[(at + record.expect) >> 2] = forward.request;
    words[(at + record.podIdx) >> 2] = copy.origin;
    words[(at + record.requests) >> 2] = copy.removesProxyHeaders ? abi.ORLOP_FORWARD_WITHOUT_PROXY_HEADERS : 0;
    if (!this.#texts(at, copy.target, copy.authority, "", "") || !this.#edits(at, 2, copy.requestHeaders)) return false;
    this.#count++;
    return true;
  }

  /** The definition of an origin, as `write`. A RangeError also when its number is none. */
  writeOrigin({ origin, podIdx, route, pool }: Origin): boolean {
    const at = this.#area.records + this.#count * record.size;
    const words = this.#words;
    words[(at + record.type) >> 2] = abi.answerTypes["define-origin"];
    words[(at + record.conn) >> 2] = originNumber(origin);
    words[(at + record.podIdx) >> 2] = podIdx;
    words[(at + record.requests) >> 2] = ways.indexOf(route.type);
    this.#endpoint(at + record.to, route.to);
    this.#endpoint(at + record.from, route.type === "dial" ? route.from : null, 0);
    words[(at + record.status) >> 2] = route.type === "dial" ? route.podIdx : podIdx;
    const isTunnel = route.type === "tunnel";
    words[(at + record.identity) >> 2] = isTunnel ? route.identity : -1;
    words[(at + record.expect) >> 2] = isTunnel ? route.expect : -1;
    const texts = isTunnel ? ([route.authority, route.baggage, route.forwarded, ""] as const) : noTexts;
    if (!this.#texts(at, ...texts) || (pool !== undefined && !this.#pool(at, pool))) return false;
    this.#count++;
    return true;
  }

  /** Into the text that #texts has left empty. */
  #pool(at: number, { connectMs, idleMs, mostRequests, cap }: OriginPool): boolean {
    const { size } = abi.orlopOriginPool;
    if (this.#textLength + size > this.#area.textSize) return false;
    const place = at + record.text + 3 * abi.orlopSpan.size;
    const written = this.#area.text + this.#textLength;
    this.#words[(place + abi.orlopSpan.offset) >> 2] = this.#textLength;
    this.#words[(place + abi.orlopSpan.length) >> 2] = size;
    this.#view.setUint32(written + abi.orlopOriginPool.connectMs, milliseconds(connectMs), true);
    this.#view.setUint32(written + abi.orlopOriginPool.idleMs, milliseconds(idleMs), true);
    this.#view.setUint32(written + abi.orlopOriginPool.mostRequests, milliseconds(mostRequests), true);
    this.#view.setUint32(written + abi.orlopOriginPool.mostOpen, cap === undefined ? 0 : milliseconds(cap.most), true);
    this.#view.setBigUint64(written + abi.orlopOriginPool.key, cap?.key ?? 0n, true);
    this.#view.setUint32(written + abi.orlopOriginPool.mostWaiting, milliseconds(cap?.mostWaiting ?? 0), true);
    this.#textLength += size;
    return true;
  }

  writeDroppedOrigin(origin: number): void {
    const at = this.#area.records + this.#count * record.size;
    this.#words[(at + record.type) >> 2] = abi.answerTypes["drop-origin"];
    this.#words[(at + record.conn) >> 2] = originNumber(origin);
    this.#count++;
  }

  #endpoint(offset: number, endpoint: Endpoint | null, lowestPort = 1): void {
    this.#view.setUint16(offset + abi.orlopEndpoint.known, endpoint === null ? 0 : 1, true);
    if (endpoint === null) return;
    if (!writeIp(endpoint.address, this.#buffer, offset + abi.orlopEndpoint.addr)) {
      throw new RangeError(`"${endpoint.address}" is no IP address`);
    }
    if (!Number.isInteger(endpoint.port) || endpoint.port < lowestPort || endpoint.port > 65535) {
      throw new RangeError(`${endpoint.port} is no port`);
    }
    this.#view.setUint16(offset + abi.orlopEndpoint.port, endpoint.port, true);
  }

  #texts(at: number, first: string, second: string, third: string, fourth: string): boolean {
    const length = first.length + second.length + third.length + fourth.length;
    if (length > abi.ORLOP_ANSWER_TEXT_LIMIT) throw new RangeError(`${length} characters of header text are too many`);
    if (this.#textLength + length > this.#area.textSize) return false;
    this.#span(at, 0, first);
    this.#span(at, 1, second);
    this.#span(at, 2, third);
    this.#span(at, 3, fourth);
    return true;
  }

  #span(at: number, which: number, text: string): void {
    const place = at + record.text + which * abi.orlopSpan.size;
    this.#words[(place + abi.orlopSpan.offset) >> 2] = this.#textLength;
    this.#words[(place + abi.orlopSpan.length) >> 2] = text.length;
    if (text === "") return;
    this.#buffer.write(text, this.#area.text + this.#textLength, "latin1");
    this.#textLength += text.length;
  }

  /** Into the text that #texts has left empty. */
  #edits(at: number, which: number, edits: readonly HeaderEdit[]): boolean {
    if (edits.length === 0) return true;
    const length = lengthOfEdits(edits);
    if (length > abi.ORLOP_ANSWER_TEXT_LIMIT) throw new RangeError(`${length} bytes of header edits are too many`);
    if (this.#textLength + length > this.#area.textSize) return false;
    const place = at + record.text + which * abi.orlopSpan.size;
    this.#words[(place + abi.orlopSpan.offset) >> 2] = this.#textLength;
    this.#words[(place + abi.orlopSpan.length) >> 2] = length;
    writeEdits(edits, this.#buffer, this.#area.text + this.#textLength);
    this.#textLength += length;
    return true;
  }
}

function originNumber(origin: number): number {
  if (Number.isInteger(origin) && origin >= 1 && origin <= abi.ORLOP_MOST_ORIGIN) return origin;
  throw new RangeError(`${origin} is no number of an origin`);
}

/** Whole milliseconds from 1; 0: no limit. */
const milliseconds = (ms = 0): number => (ms > 0 ? Math.ceil(Math.min(ms, longestMs)) : 0);
