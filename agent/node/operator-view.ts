// main thread · what operators may ask of the agent, gathered from the rooms that know it.
import { ORLOP_ABI_VERSION } from "../abi.ts";
import { explainView } from "../admin/api.ts";
import { ejectedText, ejectedViews } from "../admin/ejected-views.ts";
import type { Readiness } from "../admin/health.ts";
import type { AdminSource } from "../admin/source.ts";
import type { AgentConfig } from "../config/config.ts";
import { leftOutSummary } from "../control/left-out.ts";
import type { ConfigurationSource } from "../control/source.ts";
import type { KeeperClient } from "../engine/keeper-client.ts";
import type { Certificates } from "../identity/certificates.ts";
import { heartbeatAgeMs } from "../kernel/heartbeat.ts";
import type { KernelWatch } from "../kernel/kernel-watch.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { isLogLevel, isLogRoom, type Log } from "../observe/log.ts";
import { explainRequest, requestOf } from "../plan/explain-request.ts";
import { evaluatorOf, type Judge } from "../policy/evaluate.ts";
import { peerModesOf } from "../policy/peer-mode.ts";
import { portNeeds } from "../policy/port-needs.ts";
import { requestChanges } from "../policy/request-changes.ts";
import { requestWarnings } from "../policy/request-warnings.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { LimitBuffers } from "../threads/limit-buffers.ts";
import type { AgentCounts } from "./agent-counts.ts";
import type { NodeEnrollment } from "./enrollment.ts";

export type OperatorViewParts = {
  readonly config: Pick<AgentConfig, "settings" | "dataThreads">;
  readonly version: string;
  readonly startedAtMs: number;
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly source: Pick<ConfigurationSource, "status">;
  readonly keeper: Pick<KeeperClient, "connected" | "trouble" | "programs" | "nodeAccess">;
  readonly threads: Pick<DataThreads, "report">;
  readonly enrollment: Pick<NodeEnrollment, "states">;
  readonly certificates: Pick<Certificates, "view">;
  readonly rootsTrouble: () => string;
  readonly tables: Pick<KernelTables, "gate">;
  readonly watch: Pick<KernelWatch, "counters" | "connections">;
  readonly limits: Pick<LimitBuffers, "stateOf">;
  readonly counts: Pick<AgentCounts, "openConnections" | "denied">;
  readonly readiness: Pick<Readiness, "pending">;
  readonly log: Pick<Log, "settings" | "set">;
};

export function operatorView(parts: OperatorViewParts): AdminSource {
  const { config, mesh, judge, source, keeper, threads, enrollment, certificates, tables, watch, counts, log } = parts;
  const rules = { mesh, evaluator: evaluatorOf(mesh) };
  const nodeAccess: AdminSource["nodeAccess"] = async () => {
    const unknown = (problem: string) => ({ mode: "none" as const, programs: [], problem });
    if (!keeper.connected) return unknown("no connection to the keeper");
    return keeper.nodeAccess().catch((error: unknown) => unknown(String(error)));
  };
  const ejected = async () => (await threads.report(true)).flatMap((report) => report.ejected);
  const leftOut = async (src: string): Promise<string | null> => {
    const caller = [...mesh.workloads()].find((each) => fullName(each) === src)?.identity.text ?? "";
    return ejectedText(ejectedViews(await ejected()), caller);
  };
  return {
    node: config.settings.node,
    version: parts.version,
    abi: ORLOP_ABI_VERSION,
    startedAtMs: parts.startedAtMs,
    threads: config.dataThreads,
    now: Date.now,
    mesh,
    mode: (workload) => peerModesOf(mesh.peerAuthenticationsFor(workload), mesh.rootNamespace).workload.mode,
    portNeeds: (workload) => portNeeds(workload, rules),
    requestWarnings: () => requestWarnings(mesh.workloadsOnNode(config.settings.node), rules),
    requestChanges: () => requestChanges(mesh.workloadsOnNode(config.settings.node), rules),
    limitState: (name) => parts.limits.stateOf(name),
    pods: () => enrollment.states(),
    certs: () =>
      certificates.view().map(({ spiffeId, state, serial, notBefore, notAfter, renewInMs, lastError }) => ({
        identity: spiffeId,
        state: state === "available" ? "ready" : lastError === "" ? "pending" : "failed",
        serial,
        notBeforeMs: notBefore === "" ? null : Date.parse(notBefore),
        notAfterMs: notAfter === "" ? null : Date.parse(notAfter),
        rotatesAtMs: notAfter === "" ? null : Date.now() + renewInMs,
        message: lastError,
      })),
    rootsTrouble: parts.rootsTrouble,
    connections: async (limit) => {
      const reports = await threads.report(true);
      return [...reports.flatMap(({ connections }) => connections.slice(0, limit)), ...watch.connections(limit)];
    },
    ejected,
    openConnections: () => counts.openConnections,
    denied: () => counts.denied,
    bpf: async () => (keeper.connected ? keeper.programs() : { programs: [], maps: [], pods: [] }),
    counters: () => watch.counters(),
    configuration: () => source.status(),
    keeper: () => ({ connected: keeper.connected, message: keeper.trouble }),
    heartbeatAgeMs: () => heartbeatAgeMs(tables.gate),
    pending: () => parts.readiness.pending,
    notes: () => {
      const trouble = parts.rootsTrouble();
      const notes = enrollment.states().map(({ note }) => note);
      return [
        trouble && `trusted roots: ${trouble}`,
        leftOutSummary(source.status().leftOut),
        ...notes,
        ...notHonoured(mesh),
      ].filter((note) => note !== "");
    },
    nodeAccess,
    explain: async (src, dst, asked) => {
      const request = requestOf(dst, asked);
      if (request !== null && "error" in request) return { unusable: request.error };
      const { mode, programs, problem } = await nodeAccess();
      const letIn = programs.map(({ name, pid, cgroup }) => `${name} (${pid === null ? "" : `pid ${pid}, `}${cgroup})`);
      const access = { node: config.settings.node, mode, programs: letIn, problem };
      const known = { mesh, judge, nodeAccess: access, ejected: await ejected() };
      const answer = explainRequest(src, dst, known, request);
      if ("error" in answer) return answer;
      const summary = await leftOut(src);
      const steps = summary === null ? [] : [{ id: "endpoints", status: "ok", summary } as const];
      return explainView({ ...answer, steps: [...answer.steps, ...steps] });
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

/** Objects that are accepted and not in force everywhere that Istio's API says: an operator might rely on them. */
function notHonoured(mesh: Snapshot): readonly string[] {
  return [...mesh.peerAuthentications()]
    .filter(({ namespace, selector }) => namespace === mesh.rootNamespace && Object.keys(selector ?? {}).length > 0)
    .map(
      (policy) =>
        `PeerAuthentication ${fullName(policy)} has a selector: it holds in ${policy.namespace} alone, not in other namespaces`,
    );
}
