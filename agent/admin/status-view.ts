// main thread · `orlop status`: the node on one screen.
import type { SourceStatus } from "../control/source.ts";
import { fullName } from "../mesh/full-name.ts";
import type { StatusView } from "./api.ts";
import { problemView } from "./findings.ts";
import type { AdminSource } from "./source.ts";

/** Asks the keeper for its programs and for programs of the node that are let in. */
export async function statusView(source: AdminSource): Promise<StatusView> {
  const pods = source.pods().filter(({ state }) => state !== "not-enrolled" && state !== "leaving");
  const all = source.certs();
  const { programs } = await source.bpf();
  const nodeAccess = await source.nodeAccess();
  return {
    node: source.node,
    version: source.version,
    uptimeSeconds: Math.max(0, Math.floor((source.now() - source.startedAtMs) / 1000)),
    pods: { captured: pods.filter(({ state }) => state === "captured").length, wanted: pods.length },
    connections: source.openConnections(),
    denied: source.denied(),
    certs: { ready: all.filter(({ state }) => state === "ready").length, all: all.length },
    source: sourceView(source.configuration()),
    keeper: source.keeper(),
    nodeAccess: {
      mode: nodeAccess.mode,
      programs: nodeAccess.programs.map(({ role, name, pid, cgroup }) => ({ role, name, pid, cgroup })),
      problem: nodeAccess.problem,
    },
    requestsRead: requestsRead(source),
    bpf: { programs: programs.length, abi: source.abi },
    heartbeatAgeMs: source.heartbeatAgeMs(),
    threads: source.threads,
    pending: source.pending(),
    notes: source.notes(),
  };
}

function requestsRead(source: AdminSource): StatusView["requestsRead"] {
  const here = [...source.mesh.workloads()].filter(
    ({ node, protocol }) => node === source.node && protocol === "hbone",
  );
  const read = here.map((workload) => ({
    pod: fullName(workload),
    ports: source.portNeeds(workload).flatMap(({ port, isRead }) => (isRead ? [port] : [])),
  }));
  return read.filter(({ ports }) => ports.length > 0).toSorted((a, b) => (a.pod < b.pod ? -1 : 1));
}

function sourceView(status: SourceStatus): StatusView["source"] {
  const { kind, from, state, fromLastGood, appliedAt, objects } = status;
  return {
    kind,
    from,
    state,
    fromLastGood,
    appliedAt,
    objects,
    errors: status.problems.map(problemView),
    notHonoured: status.findings.map(problemView),
    kinds: status.kinds.map(({ kind, objects, state, awaySince, why }) => ({ kind, objects, state, awaySince, why })),
  };
}
