// 6 · data thread · Answer → arena records. Refuses what the engine could not read: addresses that are none, too much text.
import * as abi from "../abi.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import { writeIp } from "../mesh/ip.ts";
import type { Answer, Origin } from "./answers.ts";
import { type HeaderEdit, lengthOfEdits, writeEdits } from "./head-edits.ts";

const record = abi.orlopEngineAnswer;
const types: Readonly<Record<Answer["type"], number>> = abi.answerTypes;
const noTexts = ["", "", "", ""] as const;
const ways: readonly Origin["route"]["type"][] = abi.originWays;
const asksBits = { unsent: abi.ORLOP_FORWARD_ASKS_UNSENT, any: abi.ORLOP_FORWARD_ASKS_ANY } as const;
/** Two hours are longer than anything that waits. */
const longestMs = 2 * 3_600_000;

/** Where a writer's records and text lie, in bytes from the arena's start. */
export type AnswerArea = { readonly records: number; readonly text: number; readonly textSize: number };

export class AnswerWriter {
  readonly #view: DataView;
  readonly #buffer: Buffer;
  readonly #area: AnswerArea;
  #count = 0;
  #textLength = 0;

  constructor(arena: ArrayBuffer, area: AnswerArea) {
    this.#view = new DataView(arena);
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
    const view = this.#view;
    view.setUint32(at + record.type, types[answer.type], true);
    view.setUint32(at + record.conn, answer.conn, true);
    view.setUint32(at + record.generation, answer.generation, true);
    switch (answer.type) {
      case "relay":
        this.#endpoint(at + record.to, answer.to);
        break;
      case "tunnel":
        this.#endpoint(at + record.to, answer.to);
        view.setInt32(at + record.identity, answer.identity, true);
        view.setInt32(at + record.expect, answer.expect, true);
        view.setUint32(
          at + record.requests,
          answer.reportsNotReached === true ? abi.ORLOP_REPORTS_NOT_REACHED : 0,
          true,
        );
        if (!this.#texts(at, answer.authority, answer.baggage, answer.forwarded, answer.traceparent)) return false;
        break;
      case "dial":
        view.setUint32(at + record.podIdx, answer.podIdx, true);
        this.#endpoint(at + record.to, answer.to);
        // Port 0: the engine chooses.
        this.#endpoint(at + record.from, answer.from, 0);
        view.setUint32(
          at + record.requests,
          abi.httpReadings.indexOf(answer.reading ?? "unread") +
            (answer.reportsNotReached === true ? abi.ORLOP_REPORTS_NOT_REACHED : 0),
          true,
        );
        if (!this.#texts(at, "", answer.baggage, "", "")) return false;
        break;
      case "refuse":
        view.setInt32(at + record.status, answer.status, true);
        break;
      case "forward":
        view.setInt32(at + record.expect, answer.request, true);
        view.setUint32(at + record.podIdx, answer.origin ?? 0, true);
        view.setInt32(at + record.status, milliseconds(answer.timeoutMs), true);
        view.setInt32(at + record.identity, milliseconds(answer.tryTimeoutMs), true);
        view.setUint32(
          at + record.requests,
          (answer.removesProxyHeaders === true ? abi.ORLOP_FORWARD_WITHOUT_PROXY_HEADERS : 0) +
            (answer.asks === undefined ? 0 : asksBits[answer.asks]),
          true,
        );
        if (!this.#texts(at, answer.target, answer.authority ?? "", "", "")) return false;
        if (answer.requestHeaders !== undefined && !this.#edits(at, 2, answer.requestHeaders)) return false;
        if (answer.responseHeaders !== undefined && !this.#edits(at, 3, answer.responseHeaders)) return false;
        break;
      case "reply":
        view.setInt32(at + record.expect, answer.request, true);
        view.setInt32(at + record.status, answer.status, true);
        if (!this.#texts(at, answer.body, "", "", "")) return false;
        if (answer.headers !== undefined && !this.#edits(at, 1, answer.headers)) return false;
        break;
      case "pass":
        view.setInt32(at + record.expect, answer.request, true);
        break;
      case "hold":
        view.setInt32(at + record.expect, answer.request, true);
        view.setInt32(at + record.status, milliseconds(answer.ms), true);
        break;
      case "peek":
        view.setInt32(at + record.status, answer.bytes, true);
        break;
      case "peer":
        view.setInt32(at + record.identity, answer.peerIdentity, true);
        break;
    }
    this.#count++;
    return true;
  }

  /** The definition of an origin, as `write`. A RangeError also when its number is none. */
  writeOrigin({ origin, podIdx, route }: Origin): boolean {
    const at = this.#area.records + this.#count * record.size;
    const view = this.#view;
    view.setUint32(at + record.type, abi.answerTypes["define-origin"], true);
    view.setUint32(at + record.conn, originNumber(origin), true);
    view.setUint32(at + record.podIdx, podIdx, true);
    view.setUint32(at + record.requests, ways.indexOf(route.type), true);
    this.#endpoint(at + record.to, route.to);
    this.#endpoint(at + record.from, route.type === "dial" ? route.from : null, 0);
    view.setInt32(at + record.status, route.type === "dial" ? route.podIdx : podIdx, true);
    const isTunnel = route.type === "tunnel";
    view.setInt32(at + record.identity, isTunnel ? route.identity : -1, true);
    view.setInt32(at + record.expect, isTunnel ? route.expect : -1, true);
    const texts = isTunnel ? ([route.authority, route.baggage, route.forwarded, ""] as const) : noTexts;
    if (!this.#texts(at, ...texts)) return false;
    this.#count++;
    return true;
  }

  writeDroppedOrigin(origin: number): void {
    const at = this.#area.records + this.#count * record.size;
    this.#view.setUint32(at + record.type, abi.answerTypes["drop-origin"], true);
    this.#view.setUint32(at + record.conn, originNumber(origin), true);
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

  #texts(at: number, ...texts: readonly [string, string, string, string]): boolean {
    const length = texts[0].length + texts[1].length + texts[2].length + texts[3].length;
    if (length > abi.ORLOP_ANSWER_TEXT_LIMIT) throw new RangeError(`${length} characters of header text are too many`);
    if (this.#textLength + length > this.#area.textSize) return false;
    for (let which = 0; which < 4; which++) {
      const text = texts[which] ?? "";
      const place = at + record.text + which * abi.orlopSpan.size;
      this.#view.setUint32(place + abi.orlopSpan.offset, this.#textLength, true);
      this.#view.setUint32(place + abi.orlopSpan.length, text.length, true);
      if (text !== "") this.#buffer.write(text, this.#area.text + this.#textLength, "latin1");
      this.#textLength += text.length;
    }
    return true;
  }

  /** Into the text that #texts has left empty. */
  #edits(at: number, which: number, edits: readonly HeaderEdit[]): boolean {
    if (edits.length === 0) return true;
    const length = lengthOfEdits(edits);
    if (length > abi.ORLOP_ANSWER_TEXT_LIMIT) throw new RangeError(`${length} bytes of header edits are too many`);
    if (this.#textLength + length > this.#area.textSize) return false;
    const place = at + record.text + which * abi.orlopSpan.size;
    this.#view.setUint32(place + abi.orlopSpan.offset, this.#textLength, true);
    this.#view.setUint32(place + abi.orlopSpan.length, length, true);
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
