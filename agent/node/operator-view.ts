// main thread · what operators may ask of the agent, gathered from the rooms that know: the one AdminSource.
import { ORLOP_ABI_VERSION } from "../abi.ts";
import { explainView } from "../admin/api.ts";
import type { AdminSource } from "../admin/views.ts";
import type { AgentConfig } from "../config.ts";
import type { ConfigurationSource } from "../control/source.ts";
import type { KeeperClient } from "../engine/keeper-client.ts";
import type { Certificates } from "../identity/certificates.ts";
import type { KernelCounters } from "../kernel/events.ts";
import { heartbeatAgeMs } from "../kernel/heartbeat.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { isLogLevel, isLogRoom, type Log } from "../observe/log.ts";
import type { OpenConnection } from "../observe/recorder.ts";
import { explain } from "../plan/explain.ts";
import type { Judge } from "../policy/evaluate.ts";
import { peerModesOf } from "../policy/peer-mode.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { Enrolment } from "./enrollment.ts";

export type OperatorViewParts = {
  readonly config: AgentConfig;
  readonly version: string;
  readonly startedAtMs: number;
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly source: ConfigurationSource;
  readonly keeper: KeeperClient;
  readonly threads: DataThreads;
  readonly enrolment: Enrolment;
  readonly certificates: Certificates;
  readonly tables: KernelTables;
  readonly counters: () => KernelCounters | null;
  readonly kernelConnections: (limit: number) => readonly OpenConnection[];
  readonly openConnections: () => number;
  readonly denied: () => number;
  readonly pending: () => readonly string[];
  readonly log: Log;
};

export function operatorView(parts: OperatorViewParts): AdminSource {
  const { config, mesh, keeper, threads, certificates, tables, log } = parts;
  return {
    node: config.settings.node,
    version: parts.version,
    abi: ORLOP_ABI_VERSION,
    startedAtMs: parts.startedAtMs,
    threads: config.dataThreads,
    now: Date.now,
    mesh,
    mode: (workload) => peerModesOf(mesh.peerAuthenticationsFor(workload), mesh.rootNamespace).workload.mode,
    pods: () => parts.enrolment.states(),
    certs: () =>
      certificates.view().map((one) => ({
        identity: one.spiffeId,
        state: one.state === "available" ? "ready" : one.lastError === "" ? "pending" : "failed",
        serial: one.serial,
        notBeforeMs: one.notBefore === "" ? null : Date.parse(one.notBefore),
        notAfterMs: one.notAfter === "" ? null : Date.parse(one.notAfter),
        rotatesAtMs: one.notAfter === "" ? null : Date.now() + one.renewInMs,
        message: one.lastError,
      })),
    connections: async (limit) => {
      const reports = await threads.report(true);
      return [...reports.flatMap(({ connections }) => connections.slice(0, limit)), ...parts.kernelConnections(limit)];
    },
    openConnections: parts.openConnections,
    denied: parts.denied,
    bpf: async () => (keeper.connected ? keeper.programs() : { programs: [], maps: [] }),
    counters: parts.counters,
    configuration: () => parts.source.status(),
    keeper: () => ({ connected: keeper.connected, message: keeper.trouble }),
    heartbeatAgeMs: () => heartbeatAgeMs(tables.gate),
    pending: parts.pending,
    notes: () => parts.enrolment.states().flatMap(({ state, note }) => (state === "failed" ? [note] : [])),
    explain: async (src, dst) => {
      const answer = explain(src, dst, { mesh, judge: parts.judge });
      return "error" in answer ? answer : explainView(answer);
    },
    logLevels: () => log.settings(),
    setLog: ({ room, level, forSeconds }) => {
      if (!isLogRoom(room)) return `no log room "${room}"`;
      if (!isLogLevel(level)) return `no log level "${level}"`;
      log.set(room, level, forSeconds === null ? null : forSeconds * 1000);
      return undefined;
    },
  };
}
