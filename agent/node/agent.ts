// main thread · composition root of one node's agent: configuration → mesh, identity, kernel tables, enrollment, admin. It
// gives up every privilege before it has read a byte from a network or a pod.
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Readiness } from "../admin/health.ts";
import type { AgentConfig } from "../config/config.ts";
import * as engine from "../engine/addon.ts";
import { fdChannel } from "../engine/keeper-channel.ts";
import { KeeperClient, type Welcome } from "../engine/keeper-client.ts";
import { closeAll, KeeperLost } from "../engine/keeper-session.ts";
import { DirectSweep } from "../kernel/direct-sweep.ts";
import { Heartbeat } from "../kernel/heartbeat.ts";
import { KERNEL_THREAD, KernelWatch } from "../kernel/kernel-watch.ts";
import { PairTables } from "../kernel/pair-tables.ts";
import { KernelTables } from "../kernel/plaintext-tables.ts";
import { MeshStore } from "../mesh/store.ts";
import { Log } from "../observe/log.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { collectGarbage } from "../process/collect-garbage.ts";
import type { Handover } from "../process/handover.ts";
import { trimMalloc } from "../process/libc.ts";
import { becomeUnprivileged } from "../process/privileges.ts";
import { version } from "../process/version.ts";
import { DataThreads } from "../threads/data-threads.ts";
import { LimitBuffers } from "../threads/limit-buffers.ts";
import { openAccessLog } from "./access-log.ts";
import { AgentCounts } from "./agent-counts.ts";
import { keepOn } from "./built.ts";
import { certificateAuthority } from "./certificate-authority.ts";
import { holdCertificates } from "./certificates.ts";
import { NodeEnrollment } from "./enrollment.ts";
import { holdNode, keeperEvents, keeperOfHolder, PodNotices } from "./keeper-events.ts";
import { followMesh } from "./mesh-follower.ts";
import { meshSource, untilNothingIsHeld } from "./mesh-source.ts";
import { isAnswered, OperatorServers } from "./operator-servers.ts";
import { operatorView } from "./operator-view.ts";
import { peerCredentials } from "./peer-credentials.ts";
import { SettledStatus } from "./settled-status.ts";
import { adoptLastGood, writePid } from "./state-files.ts";
import { stopSignal, untilAborted } from "./stop-signal.ts";
import { Telemetry } from "./telemetry.ts";
import { NodeTenure } from "./tenure.ts";
import { hearThreads } from "./thread-messages.ts";
import { followRoots } from "./trust-roots.ts";

/** Open connections get this long to end when the agent stops and no agent follows. */
const DRAIN_MS = 5_000;
/** With a successor, which takes all new connections, they may go on: an upgrade cuts no connection that ends within the hour. */
const SUCCEEDED_DRAIN_MS = 3_600_000;
/** When the loop of a data thread has not turned for this long, the thread hangs, and the agent's heartbeat stops. */
const STALLED_MS = 1_000;

/** After `agentFirstActs`. Runs until SIGTERM or SIGINT. Resolves to the exit status. */
export async function runAgent(config: AgentConfig, handover: Handover | null): Promise<number> {
  const startedAtMs = Date.now();
  const stop = stopSignal();
  const { settings } = config;
  const log = new Log({ level: config.log.level, write: (line) => process.stderr.write(line), now: Date.now });
  const readiness = new Readiness(["threads", "keeper", "configuration", "roots", "pods"]);
  const mesh = new MeshStore({ rootNamespace: settings.rootNamespace, trustDomain: settings.trustDomain });
  const judge = judgeOf(mesh);

  // What needs a privilege: the threads load files that only root may read, and so does the authority.
  const threads = await startThreads(config, log);
  readiness.done("threads");
  const authority = certificateAuthority(config, { wallMs: Date.now, log: log.room("identity") });
  await authority.prepare();
  engine.useOwnRecords(config.recordLayer === "own");
  const chosen = meshSource(config, log.room("control"));
  becomeUnprivileged(config.agentUid, config.agentGid);
  adoptLastGood(config, (message) => log.room("control").warn(message));

  // Each stack ends its parts in reverse. `node` keeps what open connections need, `serving` what the next agent needs
  // for itself.
  await using node = new AsyncDisposableStack();
  await using serving = new AsyncDisposableStack();

  engine.askForHybrid(config.askForHybrid);
  const lines = keepOn(node, openAccessLog(config.log.access));
  const counts = new AgentCounts(lines);
  const certificates = keepOn(
    node,
    holdCertificates({ provider: authority, engine, threads, counts, log: log.room("identity") }),
  );
  const keeper = node.adopt(
    new KeeperClient({
      path: config.keeper.socket,
      node: settings.node,
      connect: fdChannel(engine.FdSocket),
      role: () => tenure.role,
    }),
    (client) => client.close(),
  );
  const keeperWhileHolding = keeperOfHolder(keeper, () => tenure.holds, KeeperLost);
  // The agent that holds the node sweeps.
  const sever = async (podIdx: number): Promise<void> => (tenure.holds ? enrollment.sever(podIdx) : undefined);
  const kernel = { mesh, judge, NativeMap: engine.KernelMap, log: log.room("engine") };
  const tables = node.adopt(new KernelTables(kernel), (plaintext) => plaintext.close());
  const pairs = node.adopt(new PairTables({ ...kernel, sever }), (joined) => joined.close());
  keepOn(node, hearThreads({ threads, keeper, uidOf: (podIdx) => enrollment.pods.uidOf(podIdx), counts, log }));
  const { source } = keepOn(node, chosen);

  const enrollment = serving.adopt(
    new NodeEnrollment(
      { node: settings.node },
      {
        mesh,
        keeper: keeperWhileHolding,
        threads,
        tables,
        certificates,
        wasOutside: chosen.thing.wasOutside,
        closeListeners: (listeners) => closeAll(listeners.map(({ fd }) => fd)),
        log: log.room("agent"),
        podsChanged: () => pairs.setPods(enrollment.localPods()),
      },
    ),
    (pods) => pods.close(),
  );
  const watch = serving.adopt(
    new KernelWatch({
      mesh,
      judge,
      KernelMap: engine.KernelMap,
      RingBuffer: engine.RingBuffer,
      workloadOf: (podIdx) => enrollment.pods.workloadOf(podIdx),
      counted: (deltas, text) => counts.counted(KERNEL_THREAD, deltas, text),
      lateDirect: (podIdx) => void directs.sweepPod(podIdx),
      log: log.room("engine"),
      accessLog: lines !== null,
    }),
    (events) => events.close(),
  );
  const directs = serving.adopt(
    new DirectSweep({
      podsTo: (addresses) => watch.podsTo(addresses),
      sever,
      log: log.room("engine"),
    }),
    (sweeping) => sweeping.close(),
  );
  const settled = new SettledStatus({ source, threads });
  const limits = new LimitBuffers(process.hrtime.bigint);
  const known = {
    limits,
    version,
    mesh,
    judge,
    counts,
    source,
    keeper,
    threads,
    enrollment,
    certificates,
    tables,
    watch,
  };
  let rootsTrouble = "";
  const telemetry = serving.adopt(new Telemetry(known), (page) => page.close());
  const servers = serving.adopt(
    new OperatorServers({
      config,
      admin: {
        path: config.admin.socket,
        source: operatorView({
          ...known,
          source: settled,
          rootsTrouble: () => rootsTrouble,
          config,
          startedAtMs,
          readiness,
          log,
        }),
        peerOf: (socket) => peerCredentials(socket, engine.peerCredentials),
        ownUid: config.agentUid,
      },
      page: telemetry.page,
      readiness,
      log: log.room("admin"),
    }),
    (open) => open.close(),
  );
  const heartbeat = serving.adopt(
    new Heartbeat({
      gate: { beat: (now) => tables.gate?.beat(now) },
      ticks: threads.ticks,
      stalledAfterMs: STALLED_MS,
      onStalled: (stalled) =>
        log.room("engine").error("data threads hang: no heartbeat", { stalled: stalled.join(",") }),
    }),
    (beating) => beating.stop(),
  );

  let beats = false;
  const beat = (): void => {
    if (beats) return;
    beats = true;
    collectGarbage();
    trimMalloc();
    // Not before the threads serve pods: a heartbeat says that captured connections will be answered.
    heartbeat.start();
    readiness.done("pods");
    log.room("agent").info("ready", { node: settings.node, afterMs: Date.now() - startedAtMs });
  };
  const notices = new PodNotices();
  const tenure = new NodeTenure({
    keeper,
    hold: async (holding, served) => {
      writePid(config);
      notices.wait();
      await chosen.thing.hold();
      if (!tenure.holds) {
        notices.go();
        useFlowMap(holding, threads);
        return;
      }
      const inService = holdNode(holding, {
        users: [tables, pairs, watch, directs],
        threads,
        close: closeSync,
        enrollment,
      });
      notices.go();
      void inService.then(() => {
        if (!tenure.holds) return;
        beat();
        served();
      });
      await servers.openWhenFree();
    },
    stopWriting: async () => {
      tables.yield();
      pairs.close();
      watch.yield();
      await servers.close();
      await chosen.thing.yield();
    },
    lent: (welcome) => {
      useFlowMap(welcome, threads);
      // Opened while no agent answered there; the agent that holds the node needs them.
      void servers.close();
    },
    announce: handover === null ? null : () => handover.announce(),
    log: log.room("agent"),
  });
  // Of an agent that serves this node, this agent takes these over once it holds the node.
  if (!(await isAnswered(config.admin.socket))) await servers.open();

  const knowledge = { configuration: false, roots: false };
  const knows = (what: "configuration" | "roots"): void => {
    readiness.done(what);
    if (knowledge.configuration && knowledge.roots) return;
    knowledge[what] = true;
    if (!knowledge.configuration || !knowledge.roots) return;
    void untilNothingIsHeld(source).then(() => tenure.happened({ type: "ready" }));
  };
  const roots = await followRoots({
    provider: authority,
    trustDomain: settings.trustDomain,
    installRoots: (pem) => {
      engine.installRoots(pem);
      threads.rootsChanged();
    },
    onRead: () => knows("roots"),
    onTrouble: (why) => {
      rootsTrouble = why;
    },
    log: log.room("identity"),
  });
  keepOn(node, roots);
  const connected = (now: boolean): void => (now ? readiness.done("keeper") : readiness.undone("keeper"));
  keeper.start(keeperEvents({ tenure, enrollment, counts, notices, connected, log }));
  const leaving = new AbortController();
  const onApplied = (): void => knows("configuration");
  keepOn(
    node,
    followMesh({
      source,
      mesh,
      threads,
      settled,
      limits,
      watch,
      pairs,
      tables,
      directs,
      enrollment,
      leaving: leaving.signal,
      onApplied,
    }),
  );
  void untilAborted(stop).then(() => tenure.happened({ type: "ordered" }));
  handover?.onAlone((stops) => tenure.happened({ type: "alone", stops }));

  const { succeeded } = await tenure.drains;
  leaving.abort();
  chosen.thing.leave();
  const drainMs = succeeded ? SUCCEEDED_DRAIN_MS : DRAIN_MS;
  log.room("agent").info("stopping: open connections may end", { withinMs: drainMs });
  // What is new waits for the agent that holds the node, at the listeners that the keeper holds. When there is none, the agent does not
  // tell the kernel that it ends: each destination's fail mode decides only when no other agent beats before the limit.
  const empty = threads.drain(drainMs);
  await serving.disposeAsync();
  await Promise.race([empty, tenure.hurries.then(() => sleep(DRAIN_MS))]);
  // Without `orlop run` this agent was started by a program that would start it again beside its successor.
  if (handover === null) await untilAborted(stop);
  return 0;
}

/** The threads' map of original destinations; an agent that does not hold the node has no use for the others. */
function useFlowMap({ maps }: Pick<Welcome, "maps">, threads: Pick<DataThreads, "setFlowMap">): void {
  const { dst_of_flow: flows, ...others } = maps;
  for (const fd of Object.values(others)) closeSync(fd);
  threads.setFlowMap(flows);
}

async function startThreads(config: AgentConfig, log: Log): Promise<DataThreads> {
  const { trustDomain, rootNamespace } = config.settings;
  const threads = new DataThreads({
    count: config.dataThreads,
    thread: {
      ...{ trustDomain, rootNamespace, loggedRequests: config.log.requests, unreadMs: config.unreadMs },
      accessLog: config.log.access === "off" ? "off" : "text",
    },
    duplicate: engine.duplicate,
    died: (thread, error) => {
      log.room("agent").error("a data thread died: its connections are gone, and the agent ends", { thread, error });
      process.exit(1);
    },
  });
  await threads.start();
  return threads;
}
