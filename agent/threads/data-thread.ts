// data thread · composition root: the thread's own copy of the mesh, its traffic and its engine. It speaks to the main thread by
// messages only.
import { getRandomValues } from "node:crypto";
import { closeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { BatchEngine } from "../engine/batch.ts";
import { PeerCertificates } from "../identity/peer-certificate.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { nowhere } from "../mesh/source-ref.ts";
import { MeshStore } from "../mesh/store.ts";
import { Lean } from "../mesh/thread-view.ts";
import { isNotable, requestLine, writeAccessLine } from "../observe/access-log.ts";
import { LineBatch } from "../observe/line-writer.ts";
import { loopDelay } from "../observe/loop-delay.ts";
import { Recorder } from "../observe/recorder.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import { RequestLimits } from "../policy/limits.ts";
import { collectGarbage } from "../process/collect-garbage.ts";
import { createTraffic } from "../traffic/traffic.ts";
import type { DataThreadMessage, DataThreadOptions, MainMessage } from "./messages.ts";

/** Counters and log lines go to the main thread this often. */
const COUNTS_EVERY_MS = 200;
/** This thread's metrics have at most so many label sets; further connections count under "other". */
const LABEL_SETS = 20_000;
/** One report to an operator names at most so many open connections. */
const REPORTED_CONNECTIONS = 5_000;
const REPORTED_EJECTED = 1_000;
const TICK_MS = 50;
/** Updates of the first mesh between which memory is freed; whole parts of the outbox. */
const FREED_EVERY = 25_000;

if (parentPort === null) throw new Error("data-thread.ts is started by data-threads.ts, as a worker");
const port = parentPort;
const options: DataThreadOptions = workerData;
const tell = (message: DataThreadMessage): void => port.postMessage(message);

const store = new MeshStore({ rootNamespace: options.rootNamespace, trustDomain: options.trustDomain });
const lean = new Lean();
/** The first batch holds all of the mesh. */
let isFirst = true;
/** Updates that wait for the rest of their batch. */
let updates: MeshUpdate[] = [];
const lines = new LineBatch();
const delay = loopDelay();
const wrong = (message: string, error: unknown): void =>
  tell({
    op: "log",
    level: "error",
    room: "traffic",
    message,
    fields: { error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
  });
const faulted = (error: unknown, what: string): void =>
  wrong(`${what} failed; that connection was refused or closed`, error);
const engine = new BatchEngine(
  (event) => traffic.handle(event),
  (error, event) => faulted(error, `answering ${event.type}`),
);
engine.setUnread(options.unreadMs);
const recorder = new Recorder({
  thread: options.index,
  labelSets: LABEL_SETS,
  now: () => engine.wallMs(),
  // The leg to the peer: what our pod dials is upstream, and what reaches it comes from downstream.
  transport: (connection, { direction }) =>
    engine.transport(connection, direction === "outbound" ? "upstream" : "downstream") ?? null,
  log: (ended, outcome, atMs) => {
    if (options.accessLog === "off") return;
    const line = lines.next();
    if (line !== null) writeAccessLine(line, ended, outcome, { atMs, format: options.accessLog });
  },
  logRequest: (record) => {
    if (options.accessLog === "off" || (options.loggedRequests === "errors" && !isNotable(record))) return;
    lines.add(requestLine(record, Date.now(), options.accessLog));
  },
});
const evaluator = evaluatorOf(store);
// The system's monotonic clock: data threads compare what they read.
const limits = new RequestLimits(process.hrtime.bigint);
const traffic = createTraffic({
  trustDomain: options.trustDomain,
  mesh: store,
  ...evaluator,
  limits: limits.judgeBy(evaluator.limitsOf),
  recorder,
  answer: (answer) => engine.answer(answer),
  stopTaking: () => engine.drain(),
  origins: { define: (origin) => engine.defineOrigin(origin), drop: (origin) => engine.dropOrigin(origin) },
  readPeer: new PeerCertificates().read,
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  // Each thread has a slot of ticks.
  among: {
    ...{ thread: options.index, threads: options.ticks.byteLength / Int32Array.BYTES_PER_ELEMENT },
    shared: options.shared,
  },
  sharedNow: () => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1_000 + nanoseconds / 1_000_000;
  },
  random: Math.random,
  wallMs: Date.now,
  fillRandom: (bytes) => getRandomValues(bytes),
  reports: {
    peerRejected: (event, reason, message) =>
      tell({
        op: "handshake-failed",
        reason: `peer-${reason}`,
        peer: event.peer.address,
        podIdx: event.podIdx,
        message,
      }),
    handshakeFailed: ({ reason, peer, podIdx, message }) =>
      tell({ op: "handshake-failed", reason, peer: peer.address, podIdx, message }),
    tunnelAbused: ({ reason, peer, podIdx }) => tell({ op: "tunnel-abused", reason, peer: peer.address, podIdx }),
    poolLow: ({ podIdx, kind, count }) => tell({ op: "pool-low", podIdx, kind, count }),
    fault: faulted,
    copyFault: (error) => wrong("planning a copy of a request failed; the request goes on without it", error),
  },
});
engine.shareConnections(options.shared.connections, {
  thread: options.index,
  threads: options.ticks.byteLength / Int32Array.BYTES_PER_ELEMENT,
});
/** Network namespace cookies by pod: `setPod` needs them again when an identity arrives. */
const cookies = new Map<number, bigint>();

function servePod(podIdx: number): void {
  const netnsCookie = cookies.get(podIdx);
  if (netnsCookie !== undefined) engine.setPod(podIdx, { netnsCookie, identity: traffic.podIdentity(podIdx) });
}

function receive(message: MainMessage): void {
  switch (message.op) {
    case "updates":
      for (const update of message.updates) updates.push(lean.update(withoutSource(update)));
      if (message.more) {
        // Their messages take as much as what is kept of them.
        if (isFirst && updates.length % FREED_EVERY === 0) collectGarbage("regular");
        tell({ op: "taken" });
        return;
      }
      applyUpdates();
      // A pod's service account may have changed with its workload.
      for (const podIdx of cookies.keys()) servePod(podIdx);
      tell({ op: "applied" });
      return;
    case "limit-cells":
      for (const { name, cells } of message.limits) limits.setCells(name, cells);
      return;
    case "flow-map":
      try {
        engine.setFlowMap(message.fd);
      } finally {
        closeSync(message.fd);
      }
      return;
    case "pod":
      cookies.set(message.podIdx, message.netnsCookie);
      // The engine knows the pod before connections that have waited for it are answered, and its identity after.
      servePod(message.podIdx);
      traffic.addPod(message);
      servePod(message.podIdx);
      for (const { kind, fd } of message.listeners) engine.addListener(message.podIdx, kind, fd);
      tell({ op: "pod-done", podIdx: message.podIdx });
      return;
    case "pod-leaves":
      engine.leavePod(message.podIdx);
      tell({ op: "pod-done", podIdx: message.podIdx });
      return;
    case "pod-removed":
      cookies.delete(message.podIdx);
      engine.removePod(message.podIdx, { cut: message.cut });
      traffic.removePod(message.podIdx);
      tell({ op: "pod-done", podIdx: message.podIdx });
      return;
    case "identity":
      for (const podIdx of traffic.identityInstalled(message.identity, message.spiffeId)) servePod(podIdx);
      // New streams must prove the new certificate; streams that run keep the tunnel they have.
      if (message.rotated) engine.retireTunnels(message.identity);
      return;
    case "identity-dropped":
      for (const podIdx of traffic.identityDropped(message.identity, message.spiffeId)) servePod(podIdx);
      return;
    case "roots":
      engine.checkPeers();
      return;
    case "sockets":
      engine.addSockets(message.podIdx, message.kind, Int32Array.from(message.fds));
      return;
    case "report":
      tell({
        op: "report",
        id: message.id,
        report: {
          engine: engine.stats(),
          loopDelay: delay(),
          connections: message.connections ? recorder.connections(REPORTED_CONNECTIONS) : [],
          ejected: message.connections ? traffic.ejected(REPORTED_EJECTED) : [],
        },
      });
      return;
    case "drain":
      traffic.drain(message.limitMs, () => tell({ op: "drained" }));
      return;
    case "close":
      sendCounts();
      engine.close();
      port.close();
      return;
  }
}

function applyUpdates(): void {
  const batch = updates;
  updates = [];
  traffic.storeChanged(store.apply(batch));
  // In a turn of its own, in which nothing refers to the batch any more.
  if (isFirst) setImmediate(collectGarbage);
  isFirst = false;
}

/**
 * Only the main thread answers where a workload is written, so no other thread keeps it. Policies keep their source, since each
 * thread's records name it.
 */
function withoutSource(update: MeshUpdate): MeshUpdate {
  if (update.kind !== "workload" || update.op === "remove") return update;
  return { ...update, value: { ...update.value, from: nowhere } };
}

function sendCounts(): void {
  tell({ op: "counted", deltas: recorder.takeDeltas(), log: lines.take() });
}

port.on("message", receive);
setInterval(sendCounts, COUNTS_EVERY_MS).unref();
const ticks = new Int32Array(options.ticks);
setInterval(() => Atomics.add(ticks, options.index, 1), TICK_MS).unref();
tell({ op: "ready" });
