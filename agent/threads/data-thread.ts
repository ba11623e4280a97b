// data thread · composition root: its own copy of the mesh, its traffic, its engine. Speaks to main by messages only.
import { getRandomValues } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { BatchEngine } from "../engine/batch.ts";
import { PeerCertificates } from "../identity/peer-certificate.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { nowhere } from "../mesh/source-ref.ts";
import { MeshStore } from "../mesh/store.ts";
import { Lean } from "../mesh/thread-view.ts";
import { accessLine } from "../observe/access-log.ts";
import { LineBatch } from "../observe/line-writer.ts";
import { loopDelay } from "../observe/loop-delay.ts";
import { Recorder } from "../observe/recorder.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { tidy } from "../process/collect-garbage.ts";
import { createTraffic } from "../traffic/traffic.ts";
import type { DataThreadOptions, FromDataThread, ToDataThread } from "./messages.ts";

/** Counters and log lines go to main this often. */
const HAND_OVER_MS = 200;
/** Most label sets of this thread's metrics; beyond them connections count under "other". */
const LABEL_SETS = 20_000;
/** Open connections in one report to an operator. */
const REPORTED_CONNECTIONS = 5_000;
const TICK_MS = 50;

if (parentPort === null) throw new Error("data-thread.ts is started by agent.ts, as a worker");
const port = parentPort;
const options: DataThreadOptions = workerData;
const tell = (message: FromDataThread): void => port.postMessage(message);

const store = new MeshStore({ rootNamespace: options.rootNamespace, trustDomain: options.trustDomain });
const lean = new Lean();
/** The first batch is all of the mesh. */
let isFirst = true;
/** Those that are to be applied together with what follows. */
let updates: MeshUpdate[] = [];
const lines = new LineBatch();
const delay = loopDelay();
const recorder = new Recorder({
  thread: options.index,
  labelSets: LABEL_SETS,
  now: Date.now,
  log: (record, outcome, atMs) => {
    if (options.accessLog !== "off") lines.add(accessLine(record, outcome, atMs, options.accessLog));
  },
});

const faulted = (error: unknown, what: string): void =>
  tell({
    op: "log",
    level: "error",
    room: "traffic",
    message: `${what} failed; that connection was refused or closed`,
    fields: { error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
  });
const engine = new BatchEngine(
  (event) => traffic.handle(event),
  (error, event) => faulted(error, `answering ${event.type}`),
);
const traffic = createTraffic({
  trustDomain: options.trustDomain,
  mesh: store,
  judge: judgeOf(store),
  recorder,
  answer: (answer) => engine.answer(answer),
  stopTaking: () => engine.drain(),
  readPeer: new PeerCertificates().read,
  now: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  fillRandom: (bytes) => getRandomValues(bytes),
  told: {
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
  },
});
/** Netns cookies by pod: setPod needs them again when an identity arrives. */
const cookies = new Map<number, bigint>();

function servePod(podIdx: number): void {
  const netnsCookie = cookies.get(podIdx);
  if (netnsCookie !== undefined) engine.setPod(podIdx, { netnsCookie, identity: traffic.podIdentity(podIdx) });
}

function receive(message: ToDataThread): void {
  switch (message.op) {
    case "updates":
      for (const update of message.updates) updates.push(lean.update(withoutPlace(update)));
      if (message.more) {
        tell({ op: "taken" });
        return;
      }
      applyUpdates();
      // A pod's service account may have changed with its workload.
      for (const podIdx of cookies.keys()) servePod(podIdx);
      return;
    case "flow-map":
      engine.setFlowMap(message.fd);
      return;
    case "pod":
      cookies.set(message.podIdx, message.netnsCookie);
      traffic.addPod(message);
      servePod(message.podIdx);
      for (const { kind, fd } of message.listeners) engine.addListener(message.podIdx, kind, fd);
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
      // New streams must prove the new certificate; those that run keep the tunnel they have.
      if (message.rotated) engine.retireTunnels(message.identity);
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
        },
      });
      return;
    case "drain":
      traffic.drain(message.limitMs, () => tell({ op: "drained" }));
      return;
    case "close":
      handOver();
      engine.close();
      port.close();
      return;
  }
}

function applyUpdates(): void {
  const batch = updates;
  updates = [];
  traffic.storeChanged(store.apply(batch));
  // In a turn of its own, in which nobody holds the batch any more.
  if (isFirst) setImmediate(tidy);
  isFirst = false;
}

/** Where a workload is written is asked of main only; policies are named with their lines by every thread. */
function withoutPlace(update: MeshUpdate): MeshUpdate {
  if (update.kind !== "workload" || update.op === "remove") return update;
  return { ...update, value: { ...update.value, from: nowhere } };
}

function handOver(): void {
  tell({ op: "counted", deltas: recorder.takeDeltas(), log: lines.take() });
}

port.on("message", receive);
setInterval(handOver, HAND_OVER_MS).unref();
const ticks = new Int32Array(options.ticks);
setInterval(() => Atomics.add(ticks, options.index, 1), TICK_MS).unref();
tell({ op: "ready" });
