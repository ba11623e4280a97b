// main thread · composition root: configuration → control, identity, enrolment, admin, data threads. The only
// file that knows every room. Gives up every privilege before it has read a byte from anybody.
import { writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { Readiness, startMetricsServer, startReadyServer } from "../admin/health.ts";
import { startAdminServer } from "../admin/server.ts";
import type { AgentConfig } from "../config.ts";
import { StaticFileSource } from "../control/static-file/source.ts";
import {
  dropIdentity,
  duplicate,
  FdSocket,
  installIdentity,
  installRoots,
  KernelMap,
  peerCredentials,
  RingBuffer,
} from "../engine/addon.ts";
import { fdChannel } from "../engine/keeper-channel.ts";
import { KeeperClient, type KeeperEvents } from "../engine/keeper-client.ts";
import { Certificates } from "../identity/certificates.ts";
import { systemClock } from "../identity/clock.ts";
import { EmbeddedAuthority } from "../identity/embedded.ts";
import { TrustBundle } from "../identity/trust-bundle.ts";
import { Heartbeat } from "../kernel/heartbeat.ts";
import { KERNEL_THREAD, KernelWatch } from "../kernel/kernel-watch.ts";
import { PairTables } from "../kernel/pair-tables.ts";
import { KernelTables } from "../kernel/plaintext-tables.ts";
import { MeshStore } from "../mesh/store.ts";
import { LineWriter, openSink } from "../observe/line-writer.ts";
import { Log } from "../observe/log.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { collectGarbage } from "../process/collect-garbage.ts";
import type { Handover } from "../process/handover.ts";
import { becomeUnprivileged } from "../process/privileges.ts";
import { DataThreads } from "../threads/data-threads.ts";
import { version } from "../version.ts";
import { Enrolment } from "./enrollment.ts";
import { operatorView } from "./operator-view.ts";
import { Telemetry } from "./telemetry.ts";

/** Open connections get this long to end when the agent is asked to stop and nobody follows. */
const DRAIN_MS = 5_000;
/** With a successor, which takes all that is new, they may go on: an upgrade cuts nobody who ends within the hour. */
const SUCCEEDED_DRAIN_MS = 3_600_000;
/** A data thread whose loop does not turn for this long is hung, and then the agent stops beating. */
const STALLED_MS = 1_000;
/** Roots are asked for again this often, so that a change of roots is seen. */
const ROOTS_EVERY_MS = 30_000;

/** After `agentFirstActs`. Runs until SIGTERM or SIGINT. Resolves to the exit status. */
export async function runAgent(config: AgentConfig, handover: Handover | null): Promise<number> {
  const startedAtMs = Date.now();
  const log = new Log({ level: config.log.level, write: (line) => process.stderr.write(line), now: Date.now });
  const stop = stopSignal();
  const readiness = new Readiness(["threads", "keeper", "configuration", "roots", "pods"]);
  const { settings: place } = config;
  const mesh = new MeshStore({ rootNamespace: place.rootNamespace, trustDomain: place.trustDomain });
  const judge = judgeOf(mesh);
  const threads = new DataThreads({
    count: config.dataThreads,
    thread: {
      trustDomain: place.trustDomain,
      rootNamespace: place.rootNamespace,
      accessLog: config.log.access === "off" ? "off" : "text",
    },
    duplicate,
    died: (thread, error) => {
      log.room("agent").error("a data thread died: its connections are gone, and the agent ends", { thread, error });
      process.exit(1);
    },
  });
  await threads.start();
  readiness.done("threads");

  const authority = authorityOf(config);
  await authority.prepare();
  // From here on: no capability, not root. Nothing before this line has read a byte that came from a network or a pod.
  becomeUnprivileged(config.agentUid, config.agentGid);
  writeFileSync(join(config.runDir, "agent.pid"), `${process.pid}\n`);
  const access =
    config.log.access === "off"
      ? null
      : openSink(config.log.access === "stdout" ? "stdout" : { path: config.log.access });
  const lines = access === null ? null : new LineWriter({ sink: access.sink });

  const certificates = new Certificates(
    {},
    {
      provider: authority,
      clock: systemClock,
      install: ({ identity, spiffeId, chainPem, pkcs8, rotated }) => {
        installIdentity(identity, chainPem, pkcs8);
        threads.tell({ op: "identity", identity, spiffeId: spiffeId.text, rotated });
        log
          .room("identity")
          .info(rotated ? "certificate rotated" : "certificate installed", { identity: spiffeId.text });
      },
      drop: (identity) => dropIdentity(identity),
      failed: (spiffeId, error, usableMs) => {
        telemetry.certificateFailed();
        log.room("identity").warn("no new certificate", { identity: spiffeId.text, error, usableMs });
      },
    },
  );

  const tables = new KernelTables({ mesh, judge, NativeMap: KernelMap, log: log.room("engine") });
  const pairs = new PairTables({
    mesh,
    judge,
    NativeMap: KernelMap,
    sever: (podIdx) => keeper.sever(podIdx),
    log: log.room("engine"),
  });
  const keeper = new KeeperClient({ path: config.keeper.socket, node: place.node, connect: fdChannel(FdSocket) });
  const keeperEvents: KeeperEvents = {
    onWelcome: ({ maps, pods }) => {
      tables.opened(maps);
      pairs.opened(maps);
      watch.opened(maps);
      threads.setFlowMap(maps.dst_of_flow);
      readiness.done("keeper");
      log.room("keeper").info("keeper connected", { captured: pods.length });
      void enrolment.keeperCame(pods);
    },
    onLost: (why) => {
      readiness.undone("keeper");
      log.room("keeper").warn("keeper lost: pods that are captured go on", { why });
    },
    onPodGone: (podIdx, uid) => {
      log.room("keeper").info("pod gone", { uid });
      enrolment.podGone(podIdx);
    },
  };
  const enrolment: Enrolment = new Enrolment({
    node: place.node,
    mesh,
    keeper,
    threads,
    tables,
    certificates,
    log: log.room("agent"),
    podsChanged: () => pairs.setPods(enrolment.localPods()),
  });
  const telemetry = new Telemetry({
    version,
    threads,
    certificates,
    tables,
    keeper,
    enrolment,
    lines,
    source: () => source.status(),
    counters: () => watch.counters(),
    podMetrics: () => watch.metrics(),
  });
  const watch: KernelWatch = new KernelWatch({
    mesh,
    judge,
    KernelMap,
    RingBuffer,
    workloadOf: (podIdx) => {
      const pod = enrolment.podOf(podIdx);
      return pod && mesh.workload(pod.workloadUid);
    },
    counted: (deltas, lines) => telemetry.counted(KERNEL_THREAD, deltas, lines),
    log: log.room("engine"),
    accessLog: lines !== null,
  });
  const heartbeat = new Heartbeat({
    gate: { beat: (now) => tables.gate?.beat(now) },
    ticks: threads.ticks,
    stalledAfterMs: STALLED_MS,
    onStalled: (stalled) => log.room("engine").error("data threads hang: no heartbeat", { stalled: stalled.join(",") }),
  });

  threads.listen((thread, message) => {
    switch (message.op) {
      case "pool-low":
        keeper.sockets(message.podIdx, message.kind, message.count).then(
          (fds) => threads.addSockets(thread, { ...message, op: "sockets", fds: [...fds] }),
          // The engine asks again while a connection waits, and says "no-socket" when its patience ends.
          (error: unknown) =>
            log.room("keeper").warn("no sockets", { podIdx: message.podIdx, kind: message.kind, error }),
        );
        return;
      case "log":
        log.room(message.room)[message.level](message.message, message.fields);
        return;
      case "counted":
        telemetry.counted(thread, message.deltas, message.log);
        return;
      case "handshake-failed":
        telemetry.handshakeFailed(message.reason);
        log.room("traffic").info("handshake failed", { ...message });
        return;
      case "tunnel-abused":
        telemetry.tunnelAbused(message.reason);
        log.room("traffic").warn("tunnel ended: its peer broke the rules", { ...message });
        return;
    }
  });

  const source = new StaticFileSource(
    { ...config.source, settings: place },
    {
      wallMs: Date.now,
      changed: ({ state, problems }) => {
        if (state === "rejected")
          log.room("control").error("configuration rejected; what ran before runs on", { problems: [...problems] });
      },
      warn: (message) => log.room("control").warn(message),
    },
  );
  const admin = await startAdminServer({
    path: config.admin.socket,
    source: operatorView({
      config,
      version,
      startedAtMs,
      mesh,
      judge,
      source,
      keeper,
      threads,
      enrolment,
      certificates,
      tables,
      log,
      counters: () => watch.counters(),
      kernelConnections: (limit) => watch.connections(limit),
      openConnections: () => telemetry.openConnections,
      denied: () => telemetry.denied,
      pending: () => readiness.pending,
    }),
    peerOf: (socket) => credentialsOf(socket),
    ownUid: config.agentUid,
    warn: (message, fields) => log.room("admin").warn(message, fields),
  });
  const warn = (message: string, fields: Readonly<Record<string, unknown>>): void =>
    log.room("admin").warn(message, fields);
  const metrics = await startMetricsServer(config.metrics, telemetry.page, warn);
  const ready = await startReadyServer(config.ready, readiness, warn);

  const bundle = new TrustBundle(
    { overlapMs: config.ca.leafTtlSeconds * 1000 },
    { monotonicMs: systemClock.monotonicMs, install: installRoots },
  );
  const readRoots = async (): Promise<void> => {
    try {
      bundle.update(place.trustDomain, await authority.roots());
      readiness.done("roots");
    } catch (error) {
      log.room("identity").error("no roots from the authority: nobody can be verified", { error });
    }
  };
  await readRoots();
  const rootsTimer = setInterval(() => void readRoots(), ROOTS_EVERY_MS);

  keeper.start(keeperEvents);
  // The mesh is followed as long as a connection is open, so that a policy still ends it.
  const drained = new AbortController();
  const sourceEnded = source.run((updates) => {
    watch.beforeMeshChange();
    const change = mesh.apply(updates);
    threads.tell({ op: "updates", updates, more: false });
    watch.afterMeshChange();
    // Kernel tables and enrolment are the next agent's from then on.
    if (stop.aborted) return;
    pairs.changed(change, enrolment.localPods());
    tables.setDestinations(change);
    readiness.done("configuration");
    void enrolment.meshCame();
  }, drained.signal);
  void enrolment.firstTurn.then(() => {
    if (stop.aborted) return;
    collectGarbage();
    // Not before pods are served: a heartbeat says that connections which are captured will be answered.
    heartbeat.start();
    readiness.done("pods");
    log.room("agent").info("ready", { node: place.node, afterMs: Date.now() - startedAtMs });
  });

  if (!stop.aborted)
    await new Promise<void>((resolve) => stop.addEventListener("abort", () => resolve(), { once: true }));
  const drainMs = handover === null ? DRAIN_MS : SUCCEEDED_DRAIN_MS;
  log.room("agent").info("stopping: open connections may end", { withinMs: drainMs });
  // New connections wait at the listeners that the keeper holds, for the next agent. It is not said to the kernel that
  // there is none: only when no other beats before the limit does each destination's fail mode decide.
  heartbeat.stop();
  const empty = threads.drain(drainMs);
  // All that the next agent needs for itself: the ring of events, the admin socket, the ports.
  watch.close();
  await Promise.all([enrolment.close(), admin.close(), metrics.close(), ready.close()]);
  handover?.announce();
  await empty;
  drained.abort();
  clearInterval(rootsTimer);
  await sourceEnded;
  await threads.close();
  telemetry.close();
  tables.close();
  pairs.close();
  keeper.close();
  certificates.close();
  await lines?.flush();
  access?.close();
  return 0;
}

function authorityOf(config: AgentConfig): EmbeddedAuthority {
  return new EmbeddedAuthority({ ...config.ca, trustDomain: config.settings.trustDomain }, { wallMs: Date.now });
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  // Said twice, by the terminal and by `orlop run`, it is no more than once.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());
  return stop.signal;
}

/** Node has no call for SO_PEERCRED, and its sockets no public descriptor. */
function credentialsOf(socket: Socket): { readonly uid: number; readonly pid: number } | null {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd !== "number" || fd < 0) return null;
  try {
    return peerCredentials(fd);
  } catch {
    return null; // Already closed: it gets no answer in any case.
  }
}
