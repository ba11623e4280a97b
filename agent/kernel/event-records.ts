// 15 · main thread · a kernel event → the record of its connection, and for a joined one what it was allowed on: the same record as
// the agent makes of a connection that it takes itself. Pure.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { summarize } from "../observe/decision-summary.ts";
import { type ConnectionRecord, connectionRecord, type Outcome, recordService } from "../observe/record.ts";
import { plaintextFacts, sameNodeFacts } from "../plan/connection-facts.ts";
import { type Permission, permissionOf } from "../plan/permission.ts";
import type { Judge } from "../policy/evaluate.ts";
import type { KernelEvent } from "./events.ts";

export type EventWorld = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  /** The workload of an enrolled pod. */
  readonly workloadOf: (podIdx: number) => Workload | undefined;
};

export type DescribedEvent = { readonly record: ConnectionRecord; readonly permission: Permission | null };

/** The record of a connection that the kernel let pass, joined or refused; with the permission by which a joined connection is judged again. */
export function describeEvent(event: KernelEvent, world: EventWorld): DescribedEvent {
  return event.joined === null
    ? { record: plaintextRecord(event, world), permission: null }
    : describeJoined(event, event.joined, world);
}

/** Refused, passed without policy, let past an agent that was not alive, or of a program of the node that is let in. */
function plaintextRecord(event: KernelEvent, { mesh, judge, workloadOf }: EventWorld): ConnectionRecord {
  const inbound = event.direction === "in";
  const own = workloadOf(event.podIdx) ?? null;
  const peer = mesh.workloadAt((inbound ? event.source : event.destination).address) ?? null;
  const [source, destination] = inbound ? [peer, own] : [own, peer];
  return connectionRecord({
    reporter: inbound ? "destination" : "source",
    podIdx: event.podIdx,
    // An address proves nobody; the pod's own namespace does, at its own end.
    source: { ...event.source, workload: source, identity: inbound ? null : (own?.identity ?? null) },
    destination: { ...event.destination, workload: destination },
    unjudged: event.fromNode ? "node-access" : null,
    decision:
      inbound && own !== null && !event.fromNode
        ? summarize(judge(plaintextFacts({ client: event.source, target: event.destination }, own)))
        : null,
  });
}

/** Of two pods of this node the end that dialled reports; the kernel proves both. */
function describeJoined(event: KernelEvent, to: Endpoint, { mesh, judge, workloadOf }: EventWorld): DescribedEvent {
  const source = workloadOf(event.podIdx) ?? mesh.workloadAt(event.source.address) ?? null;
  const destination = mesh.workloadAt(to.address) ?? null;
  const facts =
    source === null || destination === null
      ? null
      : sameNodeFacts({ client: event.source, target: to }, destination, source);
  const dialled = event.destination;
  const service = source === null ? undefined : mesh.serviceAt(dialled.address, source.namespace);
  const record = connectionRecord({
    reporter: "source",
    podIdx: event.podIdx,
    source: { ...event.source, workload: source, identity: source?.identity ?? null },
    destination: { ...to, workload: destination, identity: destination?.identity ?? null },
    dialled: dialled.address === to.address && dialled.port === to.port ? null : dialled,
    service: recordService(service ?? null),
    security: "socket",
    decision: facts === null ? null : summarize(judge(facts)),
  });
  return { record, permission: facts === null ? null : permissionOf(source, facts) };
}

/** The end of a connection that ended by itself. */
export function endOfEvent(event: KernelEvent): Outcome {
  // The kernel counts from the application's side; a record counts from the dialling to the dialled end.
  const [sent, received] =
    event.direction === "in" ? [event.receivedBytes, event.sentBytes] : [event.sentBytes, event.receivedBytes];
  return {
    flag: "-",
    cause: "finished",
    message: "",
    sentBytes: sent,
    receivedBytes: received,
    durationUs: Math.round(event.durationMs * 1000),
  };
}
