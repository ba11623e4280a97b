// 6 · data thread · composition of this context: each engine event to the file that answers it, each change to whom it touches.
import type { Answer, EventHandler } from "../engine/answers.ts";
import type {
  Accepted,
  Closed,
  ConnRef,
  EngineEvent,
  NotReached,
  PeerCertificate,
  RequestEnded,
} from "../engine/events.ts";
import type { ConnectionRecord } from "../observe/record.ts";
import type { EjectedEndpoint } from "../plan/ejection.ts";
import { Connection } from "./connection.ts";
import { createContext, type TrafficContext } from "./context.ts";
import { Drain } from "./drain.ts";
import { answerInbound, inboundDraft } from "./inbound.ts";
import { answerPlaintext, plaintextDraft } from "./inbound-plaintext.ts";
import type { TrafficOptions } from "./options.ts";
import { outboundDraft } from "./outbound.ts";
import { answerPeer } from "./peers.ts";
import type { Pod } from "./pods.ts";
import { type Change, isAnything } from "./rejudge.ts";
import { answerRequest } from "./request.ts";
import { answerFailedTry, answerRoutedRequest } from "./routed-request.ts";
import { ConnectionSlots } from "./slots.ts";
import { UndecidedConnections } from "./undecided.ts";
import type { Missing } from "./waiting.ts";

export type Traffic = {
  readonly handle: EventHandler;
  /** After the store changed (`MeshStore.apply`): judges again, ends what fell, answers what waited. */
  readonly storeChanged: (change: Change) => void;
  readonly addPod: (pod: Pod) => void;
  readonly removePod: (podIdx: number) => void;
  /** The certificate of `spiffeId` is installed under `identity`; the indices of the pods that have this identity. */
  readonly identityInstalled: (identity: number, spiffeId: string) => readonly number[];
  /**
   * The certificate under `identity` is no more: connections wait for the next. The indices of the pods that had it; none when another
   * integer has taken its place already.
   */
  readonly identityDropped: (identity: number, spiffeId: string) => readonly number[];
  /** The integer of the pod's own identity; -1: not installed, or the pod's workload is unknown. */
  readonly podIdentity: (podIdx: number) => number;
  readonly drain: (limitMs: number, done: () => void) => void;
  readonly open: () => number;
  /** Endpoints that are left out because they fail; at most so many. */
  readonly ejected: (most: number) => readonly EjectedEndpoint[];
};

/** The data thread's decisions and the state of its connections. Each data thread makes it once. */
export function createTraffic(options: TrafficOptions): Traffic {
  return new Thread(options);
}

/** Milliseconds from its begin in which a request that a change may forbid can end by itself. */
const REQUEST_MAY_END_MS = 1_000;
/**
 * What the thread does of a change at once, before events of its pods have their turn: judging connections for so long, and asking about so
 * many requests, each of which is a decision again. A pod may have thousands of either, and its policies may be long.
 */
const SLICE_MS = 4;
const ASKED_AT_ONCE = 64;

class Thread implements Traffic {
  readonly #options: TrafficOptions;
  readonly #connections = new ConnectionSlots();
  /** SPIFFE ID → the integer under which our certificate for it is installed. */
  readonly #own = new Map<string, number>();
  readonly #undecided: UndecidedConnections;
  readonly #drain: Drain;
  /** Open requests that are asked about soon, by connection. */
  readonly #asking = new Map<Connection, number>();
  /** Those that a change concerns, as fast as `ASKED_AT_ONCE` allows; "now": what is open has lasted for a while. */
  readonly #toAsk = new Map<Connection, "by age" | "now">();
  /** The rest of what a change asks for comes soon. */
  #goesOn = false;
  readonly #context: TrafficContext;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#context = createContext(options, this.#own);
    const { now, after, stopTaking, answer } = options;
    const { fault } = options.reports;
    this.#undecided = new UndecidedConnections({ now, after, answer, fault, context: this.#context });
    this.#drain = new Drain({ now, after, stopTaking, open: () => this.open(), cutAll: () => this.#cutAll() });
  }

  /** An exception costs the connection that it happened to, never the thread. */
  readonly handle: EventHandler = (event) => {
    try {
      return this.#dispatch(event);
    } catch (error) {
      this.#options.reports.fault(error, event.type);
      return this.#afterFault(event);
    }
  };

  storeChanged(change: Change): void {
    const { live, world } = this.#context;
    live.changed(change, world.mesh);
    if (isAnything(change)) {
      this.#context.origins.dropCopiesHere();
      for (const connection of live.multiplexed) this.#asksSoon(connection);
    }
    this.#judgeAgain();
    this.#undecided.retry();
    this.#undecided.workloadsChanged(change.workloads);
  }

  /** A slice of what is due; the rest soon, by the mesh as it is then. */
  #judgeAgain(): void {
    const { live, world } = this.#context;
    const { after, answer, now, reports } = this.#options;
    const fault = (error: unknown): void => reports.fault(error, "re-judging");
    const endMs = now() + SLICE_MS;
    for (const { connection, revocation } of live.rejudge(world, fault, () => now() >= endMs)) {
      if (revocation === null) {
        this.#asksSoon(connection);
        continue;
      }
      this.#toAsk.delete(connection);
      live.remove(connection);
      answer(connection.cut(revocation.refusal, revocation.decision));
    }
    this.#askSome();
    if (this.#goesOn || (!live.isDue && this.#toAsk.size === 0)) return;
    this.#goesOn = true;
    after(0, () => {
      this.#goesOn = false;
      this.#judgeAgain();
    });
  }

  #asksSoon(connection: Connection): void {
    if (!this.#toAsk.has(connection)) this.#toAsk.set(connection, "by age");
  }

  #askSome(): void {
    let asked = 0;
    for (const [connection, when] of this.#toAsk) {
      if (asked >= ASKED_AT_ONCE) return;
      this.#toAsk.delete(connection);
      asked += this.#askAgain(connection, when);
    }
  }

  /**
   * About the open request. Most end within a moment, and a request that is cut takes its connection along: so it is asked about when it has
   * lasted for a while, with what is in force then.
   * @returns how many requests were asked about
   */
  #askAgain(connection: Connection, when: "by age" | "now"): number {
    const { answer, after } = this.#options;
    const request = connection.openRequest?.request;
    if (request === undefined) return 0;
    if (when === "by age" && this.#asking.get(connection) === request) return 0;
    const waitMs = REQUEST_MAY_END_MS - connection.requestAgeMs;
    if (when === "now" || waitMs <= 0) {
      answer({ type: "ask-again", ...connection.ref });
      return connection.openRequests;
    }
    this.#asking.set(connection, request);
    after(waitMs, () => {
      if (this.#asking.get(connection) === request) this.#asking.delete(connection);
      if (!connection.isOpenSince(request)) return;
      this.#toAsk.set(connection, "now");
      this.#judgeAgain();
    });
    return 0;
  }

  addPod(pod: Pod): void {
    this.#context.pods.add(pod);
    this.#undecided.retry();
    this.#undecided.workloadsChanged(new Set([pod.workloadUid]));
  }

  removePod(podIdx: number): void {
    this.#context.pods.remove(podIdx);
    this.#context.origins.dropPod(podIdx);
    this.#undecided.retry();
  }

  identityInstalled(identity: number, spiffeId: string): readonly number[] {
    this.#own.set(spiffeId, identity);
    this.#undecided.retry();
    return this.#podsOf(spiffeId);
  }

  identityDropped(identity: number, spiffeId: string): readonly number[] {
    if (this.#own.get(spiffeId) !== identity) return [];
    this.#own.delete(spiffeId);
    return this.#podsOf(spiffeId);
  }

  podIdentity(podIdx: number): number {
    const spiffeId = this.#identityOf(this.#context.pods.byIdx(podIdx));
    return (spiffeId === undefined ? undefined : this.#own.get(spiffeId)) ?? -1;
  }

  drain(limitMs: number, done: () => void): void {
    this.#drain.begin(limitMs, done);
  }

  ejected(most: number): readonly EjectedEndpoint[] {
    return [...this.#context.health.ejected().take(most)];
  }

  open(): number {
    return this.#connections.size;
  }

  #dispatch(event: EngineEvent): Answer | undefined {
    const { reports } = this.#options;
    switch (event.type) {
      case "accepted":
        if (event.listener === "outbound") return this.#outbound(event);
        return this.#begun(event, plaintextDraft(event), (connection) =>
          answerPlaintext(event, connection, this.#context),
        );
      case "connect-request":
        return this.#begun(event, inboundDraft(event), (connection) => answerInbound(event, connection, this.#context));
      case "peer-certificate":
        return this.#peer(event);
      case "established": {
        const connection = this.#connections.find(event);
        if (connection === undefined) return undefined;
        connection.established(event.upstream);
        this.#context.unreached.reached(connection);
        return undefined;
      }
      case "not-reached":
        this.#notReached(event);
        return undefined;
      case "first-bytes": {
        const connection = this.#connections.find(event);
        if (connection === undefined) return this.#afterFault(event);
        const { hellos } = this.#context;
        return hellos.arrived(event, connection) ?? this.#undecided.decide(connection.accepted, connection);
      }
      case "request": {
        const connection = this.#connections.find(event);
        if (connection?.isServed === true) return answerRoutedRequest(event, connection, this.#context);
        if (connection !== undefined) return answerRequest(event, connection, this.#context);
        return this.#afterFault(event);
      }
      case "try-failed": {
        const connection = this.#connections.find(event);
        if (connection !== undefined) return answerFailedTry(event, connection, this.#context);
        return this.#afterFault(event);
      }
      case "request-ended":
        this.#requestEnded(event);
        return undefined;
      case "opaque":
        this.#opaque(event);
        return undefined;
      case "closed":
        this.#closed(event);
        return undefined;
      case "handshake-failed":
        reports.handshakeFailed(event);
        return undefined;
      case "tunnel-abused":
        reports.tunnelAbused(event);
        return undefined;
      case "pool-low":
        reports.poolLow(event);
        return undefined;
      case "mirror-ended":
        this.#context.recorder.mirrored(event.end);
        return undefined;
    }
  }

  #outbound(event: Accepted): Answer | undefined {
    return this.#begun(event, outboundDraft(event), (connection) => this.#undecided.decide(event, connection));
  }

  #notReached(event: NotReached): void {
    const connection = this.#connections.find(event);
    if (connection !== undefined) this.#undecided.notReached(event, connection);
  }

  #peer(event: PeerCertificate): Answer {
    const { trustDomain, readPeer, reports } = this.#options;
    const { verified, expected } = this.#context;
    return answerPeer(event, { trustDomain, verified, expected, readPeer, rejected: reports.peerRejected });
  }

  /** A served connection belongs to nobody between its requests, and no change of a policy ends it then. */
  #requestEnded(event: RequestEnded): void {
    const connection = this.#connections.find(event);
    if (connection === undefined) return;
    connection.requestEnded(event);
    const { live } = this.#context;
    if (connection.isMultiplexed && connection.openRequest === null) live.asksNoMore(connection);
    const permission = connection.isServed ? live.permissionOf(connection) : undefined;
    if (permission !== undefined && permission.judged !== null && connection.openRequest === null)
      live.add(connection, { ...permission, judged: null });
  }

  /** Nothing of it is judged any more but the connection itself. */
  #opaque(ref: ConnRef): void {
    const { live } = this.#context;
    const connection = this.#connections.find(ref);
    const permission = connection === undefined ? undefined : live.permissionOf(connection);
    if (connection !== undefined && permission !== undefined)
      live.add(connection, { ...permission, reading: "unread" });
    connection?.speaks("opaque");
  }

  #closed(event: Closed): void {
    const connection = this.#connections.find(event);
    if (connection === undefined) return;
    this.#connections.remove(connection);
    let missing: Missing | null = null;
    try {
      missing = this.#undecided.forget(event, connection);
      this.#context.live.remove(connection);
    } finally {
      // The engine says it once.
      connection.closed(event, missing);
      this.#drain.connectionEnded();
    }
  }

  #cutAll(): void {
    this.#undecided.close();
    for (const connection of this.#connections.all()) this.#options.answer(connection.cut("draining", null));
  }

  /** Every new connection: known before it is decided, so that its end finds it whatever the decision. */
  #begun(
    ref: ConnRef,
    draft: ConnectionRecord,
    decide: (connection: Connection) => Answer | undefined,
  ): Answer | undefined {
    const before = this.#connections.at(ref.conn);
    if (before !== undefined) this.#lost(before);
    const connection = new Connection(ref, draft, this.#options.recorder);
    this.#connections.add(connection);
    const { kind } = this.#drain.state;
    return kind === "cutting" || kind === "drained" ? connection.refuse("draining", null) : decide(connection);
  }

  /** The engine used a slot again without telling of its end: a fault, but the record is still owed. */
  #lost({ ref }: Connection): void {
    this.#options.reports.fault(
      new Error(`connection ${ref.conn} of generation ${ref.generation} never ended`),
      "accepting",
    );
    const nothing = { detail: 0, message: "", sentBytes: 0, receivedBytes: 0, durationUs: 0 };
    this.#closed({ ...ref, ...nothing, type: "closed", cause: "tunnel-lost" });
  }

  #podsOf(spiffeId: string): readonly number[] {
    return [...this.#context.pods.all()].filter((pod) => this.#identityOf(pod) === spiffeId).map((pod) => pod.podIdx);
  }

  #identityOf(pod: Pod | undefined): string | undefined {
    return pod === undefined ? undefined : this.#options.mesh.workload(pod.workloadUid)?.identity.text;
  }

  /** Never silence: the engine would hold the connection until its deadline. */
  #afterFault(event: EngineEvent): Answer | undefined {
    if (event.type === "peer-certificate") {
      return { type: "reject-peer", conn: event.conn, generation: event.generation };
    }
    if (event.type === "try-failed") {
      const { conn, generation, request } = event;
      return { type: "pass", conn, generation, request };
    }
    if (event.type === "request") {
      const connection = this.#connections.find(event);
      const { conn, generation, request } = event;
      // It went on already, and nobody can say that it still may.
      if (connection !== undefined && connection.openRequestOf(request) !== null) return connection.cut("fault", null);
      connection?.requested(event, null, "");
      return { type: "reply", conn, generation, request, status: 500, body: "internal error" };
    }
    if (event.type !== "accepted" && event.type !== "connect-request" && event.type !== "first-bytes") return undefined;
    return this.#connections.find(event)?.refuse("fault", null);
  }
}
