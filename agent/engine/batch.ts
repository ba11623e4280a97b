// 6 · data thread · one wake-up of the engine: decode the arena, call the handler once per event, encode the answers.
// An exception for one event costs that connection: it is refused, counted and reported to `onError`.
import * as abi from "../abi.ts";
import type { ListenerKind, SocketKind } from "../keeper/protocol.ts";
import { NativeEngine } from "./addon.ts";
import { AnswerWriter } from "./answer-writer.ts";
import type { Answer, EventHandler, Forward, MirrorCopy, Origin } from "./answers.ts";
import type { ConnectionTransport, Engine, EngineStats } from "./engine.ts";
import { EventReader } from "./event-reader.ts";
import type { ConnRef, EngineEvent } from "./events.ts";

const listenerKinds: readonly ListenerKind[] = abi.listenerKinds;
const socketKinds: readonly SocketKind[] = abi.socketKinds;

/** Deadlines of open tunnels, in milliseconds (native/engine/tunnel/tunnel_times.h). */
export type TunnelTimes = {
  readonly pingEveryMs?: number;
  readonly pingAnswerMs?: number;
  readonly owedMs?: number;
  readonly idleMs?: number;
  readonly patienceMs?: number;
  readonly servedOnMs?: number;
};

/** Decisions that take longer than this are charged to the pod by their time. The price of a turn covers the others (native/engine/core/pod_shares.h). */
const PAID_FROM_MS = 0.1;

/** The engine of this thread. `handler` runs on it, synchronously; what it throws goes to `onError`. */
export class BatchEngine implements Engine {
  readonly #native: NativeEngine;
  readonly #handler: EventHandler;
  readonly #onError: (error: unknown, event: EngineEvent) => void;
  readonly #events: EventReader;
  readonly #answers: AnswerWriter;
  readonly #late: AnswerWriter;
  #closed = false;
  /** Of the wake-up that runs: what `wallMs` has said in it, or 0. undefined: none runs. */
  #wokenMs: number | undefined;

  constructor(handler: EventHandler, onError: (error: unknown, event: EngineEvent) => void) {
    this.#handler = handler;
    this.#onError = onError;
    this.#native = new NativeEngine((count) => this.#wake(count));
    const { arena } = this.#native;
    this.#events = new EventReader(arena);
    this.#answers = new AnswerWriter(arena, {
      records: abi.ORLOP_ARENA_ANSWERS,
      text: abi.ORLOP_ARENA_ANSWER_TEXT,
      textSize: abi.ORLOP_ARENA_ANSWER_TEXT_SIZE,
    });
    this.#late = new AnswerWriter(arena, {
      records: abi.ORLOP_ARENA_LATE_ANSWER,
      text: abi.ORLOP_ARENA_LATE_TEXT,
      textSize: abi.ORLOP_ARENA_LATE_TEXT_SIZE,
    });
  }

  #wake(count: number): number {
    this.#answers.restart();
    let beganMs = performance.now();
    this.#wokenMs = 0;
    for (let index = 0; index < count; index++) {
      const event = this.#events.read(index);
      let answer: Answer | undefined;
      try {
        answer = this.#handler(event);
        if (answer?.type === "forward" && answer.mirrors !== undefined) this.#mirror(answer, answer.mirrors, event);
        // A batch's text area holds what one batch can say; whatever does not fit goes the way of late answers.
        if (answer !== undefined && !this.#answers.write(answer)) this.#submit(answer);
      } catch (error) {
        const refusal = refusalOf(event);
        if (refusal !== undefined) this.#answers.write(refusal);
        this.#onError(error, event);
      }
      const endedMs = performance.now();
      if (endedMs - beganMs >= PAID_FROM_MS) this.#pay(event, endedMs - beganMs);
      beganMs = endedMs;
    }
    this.#wokenMs = undefined;
    return this.#answers.count;
  }

  /** Charges the time to the pod of the event's connection, so that the other pods of the thread do not wait for its decisions over and over. */
  #pay(event: EngineEvent, ms: number): void {
    if ("podIdx" in event && !this.#closed) this.#native.spendTime(event.podIdx, Math.round(ms * 1_000));
  }

  /** The wall clock in milliseconds. A wake-up looks at it once for all of its events. */
  wallMs(): number {
    if (this.#wokenMs === undefined) return Date.now();
    if (this.#wokenMs === 0) this.#wokenMs = Date.now();
    return this.#wokenMs;
  }

  setPod(podIdx: number, options: { readonly netnsCookie: bigint; readonly identity: number }): void {
    this.#native.setPod(podIdx, options.netnsCookie, options.identity);
  }

  addListener(podIdx: number, kind: ListenerKind, fd: number): void {
    this.#native.addListener(podIdx, listenerKinds.indexOf(kind), fd);
  }

  leavePod(podIdx: number): void {
    this.#native.leavePod(podIdx);
  }

  removePod(podIdx: number, options: { readonly cut: boolean }): void {
    this.#native.removePod(podIdx, options.cut);
  }

  addSockets(podIdx: number, kind: SocketKind, fds: Int32Array): void {
    this.#native.addSockets(podIdx, socketKinds.indexOf(kind), fds);
  }

  setFlowMap(fd: number): void {
    this.#native.setFlowMap(fd);
  }

  answer(answer: Answer): void {
    if (this.#closed) return;
    if (answer.type === "forward" && answer.mirrors !== undefined) this.#mirror(answer, answer.mirrors, null);
    this.#submit(answer);
  }

  /** Copies reach the engine before their request's answer. A copy that cannot be written is dropped, and the request goes on. */
  #mirror(forward: Forward, copies: readonly MirrorCopy[], event: EngineEvent | null): void {
    for (const copy of copies) {
      try {
        this.#late.restart();
        if (this.#late.writeMirror(forward, copy)) this.#native.submit();
      } catch (error) {
        // An answer that came late has no event to report; its request goes on all the same.
        if (event !== null) this.#onError(error, event);
      }
    }
  }

  #submit(answer: Answer): void {
    if (this.#closed) return;
    this.#late.restart();
    if (!this.#late.write(answer)) throw new RangeError(`the answer "${answer.type}" holds too much text`);
    this.#native.submit();
  }

  defineOrigin(origin: Origin): void {
    if (this.#closed) return;
    this.#late.restart();
    if (!this.#late.writeOrigin(origin)) throw new RangeError(`origin ${origin.origin} holds too much text`);
    this.#native.submit();
  }

  dropOrigin(origin: number): void {
    if (this.#closed) return;
    this.#late.restart();
    this.#late.writeDroppedOrigin(origin);
    this.#native.submit();
  }

  counters(ref: ConnRef): { readonly sentBytes: number; readonly receivedBytes: number } | undefined {
    const counters = this.#native.counters(ref.conn, ref.generation);
    return counters && { sentBytes: counters[0], receivedBytes: counters[1] };
  }

  transport(ref: ConnRef, side: "downstream" | "upstream"): ConnectionTransport | undefined {
    const measured = this.#native.transport(ref.conn, ref.generation, side === "upstream");
    return measured && { rttUs: measured[0], retransmits: measured[1] };
  }

  stats(): EngineStats {
    return this.#native.stats();
  }

  retireTunnels(identity: number): void {
    this.#native.retireTunnels(identity);
  }

  checkPeers(): void {
    this.#native.checkPeers();
  }

  /** How many bytes may wait for slow sockets; 512 MiB unless set. Near it nothing new is taken, at it the largest ends. */
  setBufferBudget(bytes: number): void {
    this.#native.setBufferBudget(bytes);
  }

  /** Milliseconds that bytes of a relay may wait for an end that takes none; an hour unless set. 0: for ever. */
  setUnread(ms: number): void {
    this.#native.setUnread(ms);
  }

  /** What a pod may have open of connections that are read, and keep of heads; 10,000 and 8 MiB unless set. */
  setPodLimits({ open, headBytes }: { readonly open: number; readonly headBytes: number }): void {
    this.#native.setPodLimits(open, headBytes);
  }

  /** Holds for tunnels that open from now on. Times that are not given get the defaults below. */
  setTunnelTimes({
    pingEveryMs = 10_000,
    pingAnswerMs = 20_000,
    owedMs = 1_000,
    idleMs = 300_000,
    patienceMs = 10_000,
    servedOnMs = 30_000,
  }: TunnelTimes): void {
    this.#native.setTunnelTimes(pingEveryMs, pingAnswerMs, owedMs, idleMs, patienceMs, servedOnMs);
  }

  /** Before the first origin: cells in which all threads count the connections of origins with a cap. */
  shareConnections(
    buffer: SharedArrayBuffer,
    { thread, threads }: { readonly thread: number; readonly threads: number },
  ): void {
    this.#native.shareConnections(new BigUint64Array(buffer), thread, threads);
  }

  drain(): void {
    this.#native.drain();
  }

  close(): void {
    this.#closed = true;
    this.#native.close();
  }
}

/** What an event gets when deciding it failed: no, in its own words. */
function refusalOf(event: EngineEvent): Answer | undefined {
  if (!("conn" in event)) return undefined;
  const { conn, generation } = event;
  switch (event.type) {
    case "accepted":
    case "connect-request":
      return { type: "refuse", conn, generation, status: 503 };
    case "request":
      return { type: "reply", conn, generation, request: event.request, status: 500, body: "internal error" };
    case "try-failed":
      return { type: "pass", conn, generation, request: event.request };
    case "peer-certificate":
      return { type: "reject-peer", conn, generation };
    default:
      return undefined;
  }
}
