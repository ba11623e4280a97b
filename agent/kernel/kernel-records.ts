// 15 · main thread · connections that no agent sees, as records: what the hooks refused, let pass or joined; and which of the joined
// ones a change of the mesh no longer allows.
import { summarize } from "../observe/decision-summary.ts";
import { type Outcome, recordService } from "../observe/record.ts";
import type { Recorder } from "../observe/recorder.ts";
import { flagOf, wordsOf } from "../plan/outcome.ts";
import { permissionKey, type Revocation, revocationOf } from "../plan/permission.ts";
import { DescribedEvents } from "./described-events.ts";
import { type EventWorld, endOfEvent } from "./event-records.ts";
import type { KernelEvent } from "./events.ts";
import { OpenEntry, OpenRecords } from "./open-records.ts";
import type { TrafficRow } from "./traffic-sums.ts";

export type KernelRecordsOptions = EventWorld & { readonly recorder: Recorder };

const words: Readonly<Record<string, string>> = {
  in_refused_strict: "plaintext to a STRICT port",
  in_refused_unknown: "nothing is known of the pod: it is guarded, or not captured yet",
  in_refused_port: "one of Orlop's own ports was dialled from outside",
  in_refused_no_listener: "no agent listener for plaintext that policy must judge",
  connect_refused_no_agent: "no live agent, and the destination is STRICT or under policy",
  connect_refused_no_storage: "no memory for the original destination",
  connect_refused_port: "one of Orlop's own ports was dialled",
};

export class KernelRecords {
  readonly #options: KernelRecordsOptions;
  readonly #open = new OpenRecords();
  readonly #described: DescribedEvents;

  constructor(options: KernelRecordsOptions) {
    this.#options = options;
    this.#described = new DescribedEvents(options);
  }

  /** Records that were ended because the event of their end was lost, since the start. */
  get endsLost(): number {
    return this.#open.endsLost;
  }

  handle(event: KernelEvent): void {
    // An older keeper's programs send events of all connections that the agent takes; ours only of those that never reached it.
    if (event.throughAgent && event.type !== "fail") return;
    // Of a joined connection the dialling end tells.
    if (event.direction === "in" && event.joined !== null) return;
    switch (event.type) {
      case "open":
        if (!this.#open.full) this.#open.add(this.#begin(event));
        return;
      case "close": {
        const entry = this.#open.take(event.sockCookie) ?? this.#begin(event);
        if (entry !== "written-off") entry.record.closed(endingOf(endOfEvent(event), entry.revocation));
        return;
      }
      case "fail":
        this.#refused(event, {
          flag: "CONNECT",
          cause: "connect-failed",
          message: event.throughAgent ? "the agent's listener is gone or full" : "",
        });
        return;
      case "refused":
        if (event.reason === "connect_unanswered") this.#unanswered(event);
        else
          this.#refused(event, { flag: "DENY", cause: "refused-by-kernel", message: words[event.reason ?? ""] ?? "" });
        return;
      case "direct":
        return; // Its open event follows.
    }
  }

  /** After a change of the mesh: the keeper ends what is no longer allowed, and the record of it will say why. */
  rejudge(): void {
    this.#described.forget();
    const { mesh, judge } = this.#options;
    const known = new Map<string, Revocation | null>();
    for (const entry of this.#open.values()) {
      if (entry.permission === null || entry.revocation !== null) continue;
      const key = permissionKey(entry.permission);
      let revocation = known.get(key);
      if (revocation === undefined) {
        revocation = revocationOf(entry.permission, { mesh, judge });
        known.set(key, revocation);
      }
      entry.revocation = revocation;
    }
  }

  /** See `OpenRecords.endLost`. */
  endLost(rows: readonly TrafficRow[], nowMs: number): boolean {
    return this.#open.endLost(rows, nowMs);
  }

  #begin(event: KernelEvent): OpenEntry {
    const { record, permission } = this.#described.of(event);
    return new OpenEntry(event.sockCookie, this.#options.recorder.opened(record), permission);
  }

  /** The hook refuses what the agent would refuse, and the record is what the agent would write. */
  #unanswered(event: KernelEvent): void {
    const { record } = this.#described.of(event);
    const { address, port } = event.destination;
    const { mesh, workloadOf } = this.#options;
    const service = mesh.serviceAt(address, workloadOf(event.podIdx)?.namespace ?? "");
    const hasPort = service?.ports.some((each) => each.port === port) ?? false;
    const claimants = service === undefined ? mesh.rivalsAt(address) : [];
    const refusal = claimants.length > 0 ? "address-conflict" : hasPort ? "no-healthy-endpoint" : "no-service-port";
    const message = wordsOf(refusal, claimants);
    const end = { flag: flagOf(refusal), cause: refusal, message, durationUs: 0, early: true };
    this.#options.recorder.refused({ ...record, service: recordService(service ?? null) }, end);
  }

  #refused(event: KernelEvent, end: Pick<Outcome, "flag" | "cause" | "message">): void {
    const { record } = this.#described.of(event);
    const early = event.type === "refused" && record.decision?.verdict !== "deny";
    this.#options.recorder.refused(record, { ...end, durationUs: 0, early });
  }
}

/** With what a revocation adds to an end. A peer may have ended the connection itself at that very moment: nothing tells. */
function endingOf(end: Outcome, revocation: Revocation | null): Outcome {
  if (revocation === null) return end;
  const { refusal, decision } = revocation;
  const why = { ...end, flag: flagOf(refusal), cause: refusal, message: wordsOf(refusal) };
  return decision === null ? why : { ...why, decision: summarize(decision) };
}
