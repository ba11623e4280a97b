// tests · an Engine without native code: events are fed by hand, answers collected, calls remembered.
import type { ListenerKind, SocketKind } from "../keeper/protocol.ts";
import type { Answer, EventHandler, Origin } from "./answers.ts";
import type { ConnectionTransport, Engine, EngineStats } from "./engine.ts";
import type { ConnRef, EngineEvent } from "./events.ts";

const nothing: EngineStats = {
  connections: 0,
  tunnels: 0,
  streams: 0,
  handshakes: 0,
  bufferBytes: 0,
  openDescriptors: 0,
  shedTotal: 0,
  slowedTotal: 0,
  mostWork: 0,
  mostRequests: 0,
  acceptedTotal: 0,
  tunnelsDialledTotal: 0,
  tunnelGroups: 0,
  abandoned: 0,
  batches: 0,
  events: 0,
};

export class FakeEngine implements Engine {
  /** Every answer, in the handler or late, in order. */
  readonly answers: Answer[] = [];
  readonly pods = new Map<number, { readonly netnsCookie: bigint; readonly identity: number }>();
  readonly listeners: { readonly podIdx: number; readonly kind: ListenerKind; readonly fd: number }[] = [];
  readonly removed: { readonly podIdx: number; readonly cut: boolean }[] = [];
  readonly sockets: { readonly podIdx: number; readonly kind: SocketKind; readonly fds: readonly number[] }[] = [];
  readonly retired: number[] = [];
  readonly left: number[] = [];
  readonly origins = new Map<number, Origin>();
  peersChecked = 0;
  /** Set by the test for `counters`; key is `conn/generation`. */
  readonly traffic = new Map<string, { readonly sentBytes: number; readonly receivedBytes: number }>();
  flowMap = -1;
  draining = false;
  closed = false;
  readonly #handler: EventHandler;

  constructor(handler: EventHandler) {
    this.#handler = handler;
  }

  /** Hands `event` to the handler as one wake-up would; its answer, if it gave one at once. */
  feed(event: EngineEvent): Answer | undefined {
    const answer = this.#handler(event);
    if (answer !== undefined) this.answers.push(answer);
    return answer;
  }

  answer(answer: Answer): void {
    this.answers.push(answer);
  }

  defineOrigin(origin: Origin): void {
    this.origins.set(origin.origin, origin);
  }

  dropOrigin(origin: number): void {
    this.origins.delete(origin);
  }

  setPod(podIdx: number, options: { readonly netnsCookie: bigint; readonly identity: number }): void {
    this.pods.set(podIdx, options);
  }

  addListener(podIdx: number, kind: ListenerKind, fd: number): void {
    this.listeners.push({ podIdx, kind, fd });
  }

  leavePod(podIdx: number): void {
    this.left.push(podIdx);
  }

  removePod(podIdx: number, options: { readonly cut: boolean }): void {
    this.pods.delete(podIdx);
    this.removed.push({ podIdx, cut: options.cut });
  }

  addSockets(podIdx: number, kind: SocketKind, fds: Int32Array): void {
    this.sockets.push({ podIdx, kind, fds: [...fds] });
  }

  setFlowMap(fd: number): void {
    this.flowMap = fd;
  }

  counters(ref: ConnRef): { readonly sentBytes: number; readonly receivedBytes: number } | undefined {
    return this.traffic.get(`${ref.conn}/${ref.generation}`);
  }

  transport(): ConnectionTransport | undefined {
    return undefined;
  }

  stats(): EngineStats {
    return nothing;
  }

  retireTunnels(identity: number): void {
    this.retired.push(identity);
  }

  checkPeers(): void {
    this.peersChecked += 1;
  }

  drain(): void {
    this.draining = true;
  }

  close(): void {
    this.closed = true;
  }
}
