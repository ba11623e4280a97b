// 6 · data thread · composition of this room: each engine event to the file that answers it, each change to whom it touches.
import type { Answer, EventHandler } from "../engine/answers.ts";
import type {
  Accepted,
  Closed,
  ConnRef,
  EngineEvent,
  Established,
  HandshakeFailed,
  PoolLow,
  TunnelAbused,
} from "../engine/events.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { ConnectionRecord, Recorder } from "../observe/record.ts";
import type { Judge } from "../policy/evaluate.ts";
import { Connection } from "./connection.ts";
import { Drain } from "./drain.ts";
import { traceparents } from "./headers.ts";
import { answerInbound, inboundDraft } from "./inbound.ts";
import { answerPlaintext, plaintextDraft } from "./inbound-plaintext.ts";
import { type Change, LiveConnections } from "./live.ts";
import { EndpointLoad } from "./load.ts";
import { answerOutbound, outboundDraft } from "./outbound.ts";
import type { Refusal } from "./outcome.ts";
import { answerPeer, type PeerRejected, type ReadPeer, VerifiedPeers } from "./peers.ts";
import { type Pod, Pods } from "./pods.ts";
import type { Room } from "./room.ts";
import { ExpectedPeers } from "./tunnel.ts";
import { Waiting } from "./waiting.ts";

export type TrafficOptions = {
  readonly trustDomain: string;
  /** The store's view of this thread, and the evaluator over its policies. */
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly recorder: Pick<Recorder, "opened">;
  /** Engine.answer: answers that come later, and closes. */
  readonly answer: (answer: Answer) => void;
  /** Engine.drain. */
  readonly stopTaking: () => void;
  readonly readPeer: ReadPeer;
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  readonly after: (ms: number, call: () => void) => () => void;
  /** Uniform in [0, 1): load balancing. */
  readonly random: () => number;
  /** Cryptographic: trace ids. */
  readonly fillRandom: (bytes: Uint8Array) => void;
  readonly told: {
    readonly peerRejected: PeerRejected;
    readonly handshakeFailed: (event: HandshakeFailed) => void;
    readonly tunnelAbused: (event: TunnelAbused) => void;
    readonly poolLow: (event: PoolLow) => void;
    /** An exception of ours while doing `what`; the connection was refused or closed. */
    readonly fault: (error: unknown, what: string) => void;
  };
};

export type Traffic = {
  readonly handle: EventHandler;
  /** After the store changed (`MeshStore.apply`): judges again, ends what fell, answers what waited. */
  readonly storeChanged: (change: Change) => void;
  readonly addPod: (pod: Pod) => void;
  readonly removePod: (podIdx: number) => void;
  /** The certificate of `spiffeId` is installed under `identity`; the indices of the pods that have this identity. */
  readonly identityInstalled: (identity: number, spiffeId: string) => readonly number[];
  /** The integer of the pod's own identity; -1: not installed, or the pod's workload is unknown. */
  readonly podIdentity: (podIdx: number) => number;
  readonly drain: (limitMs: number, done: () => void) => void;
  readonly open: () => number;
};

export function createTraffic(options: TrafficOptions): Traffic {
  const connections = new Map<number, Connection>();
  const own = new Map<string, number>();
  const waiting = new Waiting(options);
  const room = createRoom(options, own);
  const { pods, live } = room;

  const find = (ref: ConnRef): Connection | undefined => {
    const connection = connections.get(ref.conn);
    return connection?.ref.generation === ref.generation ? connection : undefined;
  };
  const open = (ref: ConnRef, draft: ConnectionRecord): Connection => {
    const connection = new Connection(ref, draft, options.recorder);
    connections.set(ref.conn, connection);
    return connection;
  };
  const cut = (connection: Connection, refusal: Refusal): void => options.answer(connection.cut(refusal, null));

  const drain = new Drain({
    now: options.now,
    after: options.after,
    open: () => connections.size,
    stopTaking: options.stopTaking,
    cutAll: () => {
      waiting.close();
      for (const connection of [...connections.values()]) cut(connection, "draining");
    },
  });

  const outbound = (event: Accepted): Answer | undefined => {
    const connection = open(event, outboundDraft(event));
    const first = answerOutbound(event, connection, room);
    if (typeof first !== "string") return first;
    waiting.park(
      event,
      first,
      () => {
        const later = guarded(event, connection, () => answerOutbound(event, connection, room));
        if (typeof later === "string") return later;
        options.answer(later);
        return undefined;
      },
      (missing) => options.answer(connection.refuse(missing, null)),
    );
    return undefined;
  };

  const closed = (event: Closed): void => {
    const connection = find(event);
    if (connection === undefined) return;
    connections.delete(event.conn);
    waiting.forget(event);
    live.remove(connection);
    connection.closed(event);
    drain.connectionEnded();
  };

  const established = (event: Established): void => {
    const connection = find(event);
    if (connection === undefined) return;
    const { destination } = connection.record;
    connection.established({ destination: { ...destination, ...event.upstream } });
  };

  /** An exception costs the one connection it happened to. */
  function guarded<Result>(event: EngineEvent & ConnRef, connection: Connection, call: () => Result): Result | Answer {
    try {
      return call();
    } catch (error) {
      options.told.fault(error, event.type);
      return connection.refuse("fault", null);
    }
  }

  const dispatch = (event: EngineEvent): Answer | undefined => {
    switch (event.type) {
      case "accepted":
        if (event.listener === "outbound") return outbound(event);
        return answerPlaintext(event, open(event, plaintextDraft(event)), room);
      case "connect-request":
        return answerInbound(event, open(event, inboundDraft(event)), room);
      case "peer-certificate":
        return answerPeer(event, {
          trustDomain: options.trustDomain,
          verified: room.verified,
          expected: room.expected,
          readPeer: options.readPeer,
          rejected: options.told.peerRejected,
        });
      case "established":
        established(event);
        return undefined;
      case "closed":
        closed(event);
        return undefined;
      case "handshake-failed":
        options.told.handshakeFailed(event);
        return undefined;
      case "tunnel-abused":
        options.told.tunnelAbused(event);
        return undefined;
      case "pool-low":
        options.told.poolLow(event);
        return undefined;
    }
  };

  return {
    handle: (event) => {
      try {
        return dispatch(event);
      } catch (error) {
        options.told.fault(error, event.type);
        return afterFault(event, find);
      }
    },
    storeChanged: (change) => {
      for (const { connection, fall } of live.rejudge(change, room.world, (error) =>
        options.told.fault(error, "re-judging"),
      )) {
        live.remove(connection);
        options.answer(connection.cut(fall.refusal, fall.decision));
      }
      waiting.retry();
    },
    addPod: (pod) => {
      pods.add(pod);
      waiting.retry();
    },
    removePod: (podIdx) => {
      pods.remove(podIdx);
      waiting.retry();
    },
    identityInstalled: (identity, spiffeId) => {
      own.set(spiffeId, identity);
      waiting.retry();
      return [...pods.all()]
        .filter((pod) => options.mesh.workload(pod.workloadUid)?.identity.text === spiffeId)
        .map((pod) => pod.podIdx);
    },
    podIdentity: (podIdx) => {
      const pod = pods.byIdx(podIdx);
      const workload = pod === undefined ? undefined : options.mesh.workload(pod.workloadUid);
      return (workload === undefined ? undefined : own.get(workload.identity.text)) ?? -1;
    },
    drain: (limitMs, done) => drain.begin(limitMs, done),
    open: () => connections.size,
  };
}

function createRoom(options: TrafficOptions, own: ReadonlyMap<string, number>): Room {
  const pods = new Pods();
  const load = new EndpointLoad();
  return {
    pods,
    load,
    live: new LiveConnections(),
    expected: new ExpectedPeers(),
    verified: new VerifiedPeers(),
    world: {
      mesh: options.mesh,
      judge: options.judge,
      servedHere: (uid) => pods.byWorkload(uid) !== undefined,
      load: (address, port) => load.of(address, port),
      random: options.random,
    },
    ownIdentity: (spiffeId) => own.get(spiffeId),
    traceparent: traceparents(options.fillRandom),
  };
}

/** What an event gets whose handler threw: never silence, since the engine would hold the connection until its deadline. */
function afterFault(event: EngineEvent, find: (ref: ConnRef) => Connection | undefined): Answer | undefined {
  if (event.type === "peer-certificate") return { type: "reject-peer", conn: event.conn, generation: event.generation };
  if (event.type !== "accepted" && event.type !== "connect-request") return undefined;
  return find(event)?.refuse("fault", null);
}
