// 15 · main thread · connections that the kernel joined: the same record as the agent makes of a `local` route, once each, at
// the end that dialled; and which of them a change of the mesh has taken the ground from.
import type { Endpoint } from "../mesh/endpoint.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { summarize } from "../observe/decision-summary.ts";
import { type ConnectionRecord, connectionRecord, type Outcome, recordService } from "../observe/record.ts";
import type { OpenRecord, Recorder } from "../observe/recorder.ts";
import { sameNodeFacts } from "../plan/connection-facts.ts";
import { flagOf, wordsOf } from "../plan/outcome.ts";
import { type Permission, permissionOf, type Revocation, revocationOf } from "../plan/permission.ts";
import type { Judge } from "../policy/evaluate.ts";
import type { KernelEvent } from "./events.ts";

export type JoinedRecordsOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly recorder: Recorder;
  readonly workloadOf: (podIdx: number) => Workload | undefined;
};

type Open = { readonly record: OpenRecord; readonly permission: Permission | null; revocation: Revocation | null };

/** Open connections kept at most; beyond that a connection is recorded when it ends. */
const MAX_OPEN = 50_000;

export class JoinedRecords {
  readonly #options: JoinedRecordsOptions;
  readonly #open = new Map<bigint, Open>();

  constructor(options: JoinedRecordsOptions) {
    this.#options = options;
  }

  /** Events of the dialling end; what the other end tells is told already. `end`: of a close or a failure. */
  handle(event: KernelEvent, to: Endpoint, end: Outcome): void {
    if (event.direction === "in") return;
    switch (event.type) {
      case "open":
        if (this.#open.size < MAX_OPEN) this.#open.set(event.sockCookie, this.#begun(event, to));
        return;
      case "close": {
        const open = this.#open.get(event.sockCookie) ?? this.#begun(event, to);
        this.#open.delete(event.sockCookie);
        open.record.closed({ ...end, ...endingOf(open.revocation) });
        return;
      }
      case "fail":
        this.#options.recorder.refused(this.#describe(event, to).record, {
          flag: "CONNECT",
          cause: "connect-failed",
          message: "",
          durationUs: 0,
        });
        return;
      case "refused":
      case "direct":
        return; // Neither comes of a connection that was joined.
    }
  }

  /** After a change of the mesh: whatever fell is ended by the keeper, and its record will say why. */
  rejudge(): void {
    const { mesh, judge } = this.#options;
    const known = new Map<string, Revocation | null>();
    for (const open of this.#open.values()) {
      if (open.permission === null || open.revocation !== null) continue;
      // Without the source port, which no rule can see.
      const { source, judged } = open.permission;
      const key = `${source?.uid} ${source?.identity} ${judged?.sourceAddress} ${judged?.destinationUid} ${judged?.destinationAddress} ${judged?.destinationPort}`;
      let revocation = known.get(key);
      if (revocation === undefined) {
        revocation = revocationOf(open.permission, { mesh, judge });
        known.set(key, revocation);
      }
      open.revocation = revocation;
    }
  }

  #begun(event: KernelEvent, to: Endpoint): Open {
    const { record, permission } = this.#describe(event, to);
    return { record: this.#options.recorder.opened(record), permission, revocation: null };
  }

  #describe(
    event: KernelEvent,
    to: Endpoint,
  ): { readonly record: ConnectionRecord; readonly permission: Permission | null } {
    const { mesh, judge, workloadOf } = this.#options;
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
}

/** What a fall adds to an end; a peer that ended it at that very moment is not told apart. */
function endingOf(revocation: Revocation | null): Partial<Outcome> {
  if (revocation === null) return {};
  const { refusal, decision } = revocation;
  const why = { flag: flagOf(refusal), cause: refusal, message: wordsOf(refusal) };
  return decision === null ? why : { ...why, decision: summarize(decision) };
}
