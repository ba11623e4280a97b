// 6 · data thread · arena records → EngineEvent. Offsets and the names of closed lists come from abi.ts.
import * as abi from "../abi.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import { bytes16ToIp } from "../mesh/ip.ts";
import type { EngineEvent, RequestEnded, RequestEvent, TryFailed } from "./events.ts";
import { HeadTexts } from "./head-texts.ts";
import { RequestFields } from "./request-fields.ts";

const record = abi.orlopEngineEvent;
const span = abi.orlopSpan;
const types = abi.eventTypes satisfies Readonly<Record<EngineEvent["type"], number>>;

/** `list[index]`, or an exception: the addon and this file were not built together. */
function named<T>(list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined) throw new RangeError(`engine.node sent the unknown value ${index}; rebuild it`);
  return value;
}

/** Connections of :15008 are never reported as accepted: their tunnel is. */
function captured(kind: (typeof abi.listenerKinds)[number]): "outbound" | "inbound" {
  if (kind === "hbone") throw new RangeError("engine.node reported an accepted connection of :15008; rebuild it");
  return kind;
}

export class EventReader {
  readonly #view: DataView;
  /** Records and their fields of four bytes lie aligned, in the order of the machine that engine and agent share. */
  readonly #words: Uint32Array;
  readonly #buffer: Buffer;
  /** Of the request that was read last. */
  readonly #fields: RequestFields;
  readonly #heads: HeadTexts;

  constructor(arena: ArrayBuffer) {
    this.#view = new DataView(arena);
    this.#words = new Uint32Array(arena, 0, arena.byteLength >> 2);
    this.#buffer = Buffer.from(arena);
    this.#fields = new RequestFields(this.#buffer, 0, 0);
    this.#heads = new HeadTexts(this.#buffer);
  }

  /**
   * The event at `index`. Copies everything, since the arena is written again at the next wake-up, but a request's fields, which are there
   * until the next event is read.
   */
  read(index: number): EngineEvent {
    const at = abi.ORLOP_ARENA_EVENTS + index * record.size;
    const conn = this.#u32(at + record.conn);
    const generation = this.#u32(at + record.generation);
    const podIdx = this.#u32(at + record.podIdx);
    const type = this.#u32(at + record.type);
    switch (type) {
      case types.accepted:
        return {
          type: "accepted",
          conn,
          generation,
          listener: captured(named(abi.listenerKinds, this.#u32(at + record.kind))),
          podIdx,
          source: this.#endpoint(at + record.near),
          destination: this.#known(at + record.target),
        };
      case types["peer-certificate"]:
        return {
          type: "peer-certificate",
          conn,
          generation,
          role: named(abi.roles, this.#u32(at + record.kind)),
          podIdx,
          peer: this.#endpoint(at + record.near),
          leaf: Uint8Array.from(this.#bytes(at, 0)),
          identity: this.#i32(at + record.identity),
          expect: this.#i32(at + record.expect),
        };
      case types["connect-request"]:
        return {
          type: "connect-request",
          conn,
          generation,
          podIdx,
          peer: this.#endpoint(at + record.near),
          local: this.#endpoint(at + record.target),
          peerIdentity: this.#i32(at + record.identity),
          authority: this.#text(at, 0),
          baggage: this.#text(at, 1),
          forwarded: this.#text(at, 2),
          traceparent: this.#text(at, 3),
        };
      case types.established:
        return {
          type: "established",
          conn,
          generation,
          upstream: this.#endpoint(at + record.near),
          elapsedUs: this.#u64(at + record.durationUs),
          baggage: this.#text(at, 1),
        };
      case types["not-reached"]:
        return {
          type: "not-reached",
          conn,
          generation,
          podIdx,
          to: this.#endpoint(at + record.near),
          cause: named(abi.closeCauses, this.#u32(at + record.kind)),
          detail: this.#i32(at + record.detail),
          message: this.#text(at, 0),
        };
      case types.closed: {
        const cause = named(abi.closeCauses, this.#u32(at + record.kind));
        const detail = this.#i32(at + record.detail);
        return {
          type: "closed",
          conn,
          generation,
          cause,
          detail,
          message: cause === "http-refused" ? named(abi.http1Refusals, detail) : this.#text(at, 0),
          sentBytes: this.#u64(at + record.sentBytes),
          receivedBytes: this.#u64(at + record.receivedBytes),
          durationUs: this.#u64(at + record.durationUs),
        };
      }
      case types["handshake-failed"]:
        return {
          type: "handshake-failed",
          podIdx,
          peer: this.#endpoint(at + record.near),
          reason: named(abi.handshakeFailures, this.#u32(at + record.kind)),
          message: this.#text(at, 0),
        };
      case types["tunnel-abused"]:
        return {
          type: "tunnel-abused",
          podIdx,
          peer: this.#endpoint(at + record.near),
          peerIdentity: this.#i32(at + record.identity),
          reason: this.#text(at, 0),
        };
      case types["pool-low"]:
        return {
          type: "pool-low",
          podIdx,
          kind: named(abi.socketKinds, this.#u32(at + record.kind)),
          count: this.#i32(at + record.detail),
        };
      case types["mirror-ended"]:
        return { type: "mirror-ended", podIdx, end: named(abi.mirrorEnds, this.#u32(at + record.kind)) };
      case types.request:
        return this.#request(at, conn, generation, podIdx);
      case types["try-failed"]:
        return this.#tryFailed(at, conn, generation, podIdx);
      case types["first-bytes"]:
        return {
          type: "first-bytes",
          conn,
          generation,
          bytes: Uint8Array.from(this.#bytes(at, 0)),
          isAll: this.#i32(at + record.detail) !== 0,
        };
      case types.opaque:
        return { type: "opaque", conn, generation };
      case types["request-ended"]:
        return this.#requestEnded(at, conn, generation, podIdx);
      default:
        throw new RangeError(`engine.node sent the unknown event ${type}; rebuild it`);
    }
  }

  #u32(offset: number): number {
    return this.#words[offset >> 2] ?? 0;
  }

  #i32(offset: number): number {
    return this.#u32(offset) | 0;
  }

  /** Exact to 2^53, which bytes and microseconds do not reach. */
  #u64(offset: number): number {
    return this.#u32(offset + 4) * 2 ** 32 + this.#u32(offset);
  }

  #endpoint(offset: number): Endpoint {
    return {
      address: bytes16ToIp(this.#buffer, offset + abi.orlopEndpoint.addr),
      port: this.#view.getUint16(offset + abi.orlopEndpoint.port, true),
    };
  }

  #known(offset: number): Endpoint | null {
    return this.#view.getUint16(offset + abi.orlopEndpoint.known, true) === 0 ? null : this.#endpoint(offset);
  }

  #bytes(at: number, which: number): Buffer {
    const place = at + record.text + which * span.size;
    const offset = abi.ORLOP_ARENA_EVENT_TEXT + this.#u32(place + span.offset);
    return this.#buffer.subarray(offset, offset + this.#u32(place + span.length));
  }

  #fieldsOf(at: number): RequestFields {
    const place = at + record.text + 3 * span.size;
    const from = abi.ORLOP_ARENA_EVENT_TEXT + this.#u32(place + span.offset);
    return this.#fields.moveTo(from, from + this.#u32(place + span.length));
  }

  /** Its texts lie behind each other (native/engine/http/request_event.h). */
  #request(at: number, conn: number, generation: number, podIdx: number, protocol?: "http1"): RequestEvent {
    const place = at + record.text;
    const from = abi.ORLOP_ARENA_EVENT_TEXT + this.#u32(place + span.offset);
    const method = this.#u32(place + span.length);
    const target = method + this.#u32(place + span.size + span.length);
    const authority = target + this.#u32(place + 2 * span.size + span.length);
    const words = this.#heads.read(from, method, target, authority);
    return {
      type: "request",
      conn,
      generation,
      podIdx,
      request: this.#i32(at + record.expect),
      protocol: protocol ?? named(abi.httpProtocols, this.#u32(at + record.kind)),
      method: words.method,
      target: words.target,
      authority: words.authority,
      words,
      fields: this.#fieldsOf(at),
    };
  }

  #tryFailed(at: number, conn: number, generation: number, podIdx: number): TryFailed {
    const failure = named(abi.tryFailures, this.#u32(at + record.kind));
    return {
      ...this.#request(at, conn, generation, podIdx, "http1"),
      type: "try-failed",
      failure,
      status: this.#i32(at + record.detail),
      cause: failure === "not-reached" ? named(abi.closeCauses, this.#i32(at + record.identity)) : null,
      isSent: this.#u64(at + record.sentBytes) !== 0,
      durationUs: this.#u64(at + record.durationUs),
    };
  }

  /** Written out twice, since each request comes by here and a spread costs several times as much. */
  #requestEnded(at: number, conn: number, generation: number, podIdx: number): RequestEnded {
    const outcome = named(abi.requestOutcomes, this.#u32(at + record.kind));
    const why = this.#i32(at + record.identity);
    const request = this.#i32(at + record.expect);
    const status = this.#i32(at + record.detail);
    const requestBytes = this.#u64(at + record.sentBytes);
    const responseBytes = this.#u64(at + record.receivedBytes);
    const durationUs = this.#u64(at + record.durationUs);
    const isAnswered = outcome === "answered" || outcome === "upgraded";
    if (outcome !== "not-reached") {
      return {
        type: "request-ended",
        conn,
        generation,
        podIdx,
        request,
        outcome,
        status,
        grpcStatus: this.#grpcStatus(at),
        refusal: isAnswered ? "none" : named(abi.http1Refusals, why),
        requestBytes,
        responseBytes,
        durationUs,
        answeredUs: isAnswered ? why : 0,
      };
    }
    return {
      type: "request-ended",
      conn,
      generation,
      podIdx,
      request,
      outcome,
      status,
      grpcStatus: this.#grpcStatus(at),
      refusal: "none",
      requestBytes,
      responseBytes,
      durationUs,
      answeredUs: 0,
      notReached: { cause: named(abi.closeCauses, why), message: this.#text(at, 0) },
    };
  }

  #grpcStatus(at: number): number | undefined {
    const isCall = this.#u32(at + record.text + span.size + span.length) > 0;
    return isCall ? Number(this.#text(at, 1)) : undefined;
  }

  /** Latin-1, so that every byte of a header survives as one character. */
  #text(at: number, which: number): string {
    const place = at + record.text + which * span.size;
    const length = this.#u32(place + span.length);
    if (length === 0) return "";
    const offset = abi.ORLOP_ARENA_EVENT_TEXT + this.#u32(place + span.offset);
    return this.#buffer.toString("latin1", offset, offset + length);
  }
}
