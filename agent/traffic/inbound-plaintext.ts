// 12 · data thread · plaintext on :15006 that the kernel would not settle: the same evaluator, with nobody's identity.
import type { Answer } from "../engine/answers.ts";
import type { Accepted } from "../engine/events.ts";
import { type ConnectionRecord, connectionRecord } from "../observe/record.ts";
import { permissionOf } from "../plan/permission.ts";
import { planInbound } from "../plan/plan.ts";
import type { Connection } from "./connection.ts";
import type { TrafficContext } from "./context.ts";

/** The record of a plaintext connection of which only the event is known. */
export function plaintextDraft(event: Accepted): ConnectionRecord {
  const local = event.destination ?? { address: "", port: 0 };
  return connectionRecord({ reporter: "destination", podIdx: event.podIdx, source: event.source, destination: local });
}

/** Judges plaintext from outside the mesh for the pod that it came to: dial its application, or refuse. */
export function answerPlaintext(event: Accepted, connection: Connection, context: TrafficContext): Answer {
  const { source: client, destination: target } = event;
  if (target === null) return connection.refuse("no-original-destination", null);
  const pod = context.pods.byIdx(event.podIdx);
  const destination = pod === undefined ? undefined : context.world.mesh.workload(pod.workloadUid);
  if (pod === undefined || destination === undefined) return connection.refuse("unknown-pod", null);
  connection.describe({
    // For labels: who has the address. Nothing proves it, so the identity stays nobody's.
    source: { ...client, workload: context.world.mesh.workloadAt(client.address) ?? null, identity: null },
    destination: { ...target, workload: destination, identity: null },
  });
  const plan = planInbound({ destination, target, client, identity: null }, context.world);
  if (plan.verdict === "refuse") return connection.refuse(plan.refusal, plan.decision);
  connection.opened(plan.reading === "or-end" ? null : plan.decision);
  if (plan.reading !== "unread") connection.speaks("http/1.1");
  context.live.add(connection, permissionOf(null, plan.facts, plan.reading));
  return {
    type: "dial",
    conn: event.conn,
    generation: event.generation,
    podIdx: pod.podIdx,
    to: target,
    // The client's own port is taken by the connection that we accepted.
    from: pod.preservesSource ? { address: client.address, port: 0 } : null,
    baggage: "",
    reading: plan.reading,
  };
}
