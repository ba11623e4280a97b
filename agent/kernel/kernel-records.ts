// 15 · main thread · connections that no agent saw: what the hooks refused or let pass, as the same records the agent makes.

import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";
import { summarize } from "../observe/decision-summary.ts";
import { type ConnectionRecord, connectionRecord, type Outcome } from "../observe/record.ts";
import type { OpenRecord, Recorder } from "../observe/recorder.ts";
import { plaintextFacts } from "../plan/connection-facts.ts";
import type { Judge } from "../policy/evaluate.ts";
import type { KernelEvent } from "./events.ts";
import { JoinedRecords } from "./joined-records.ts";

export type KernelRecordsOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly recorder: Recorder;
  /** The workload of an enrolled pod. */
  readonly workloadOf: (podIdx: number) => Workload | undefined;
};

/** Open connections kept at most; beyond that a connection is recorded when it ends. */
const MAX_OPEN = 50_000;

const words: Readonly<Record<string, string>> = {
  in_refused_strict: "plaintext to a STRICT port",
  in_refused_unknown: "the address is not one of the enrolled pod",
  in_refused_port: "one of Orlop's own ports was dialled from outside",
  in_refused_no_listener: "no agent listener for plaintext that policy must judge",
  connect_refused_no_agent: "no live agent, and the destination is STRICT or under policy",
  connect_refused_no_storage: "no memory for the original destination",
  connect_refused_port: "one of Orlop's own ports was dialled",
};

export class KernelRecords {
  readonly #options: KernelRecordsOptions;
  readonly #open = new Map<bigint, OpenRecord>();
  readonly #joined: JoinedRecords;

  constructor(options: KernelRecordsOptions) {
    this.#options = options;
    this.#joined = new JoinedRecords(options);
  }

  /** After a change of the mesh. */
  rejudge(): void {
    this.#joined.rejudge();
  }

  handle(event: KernelEvent): void {
    // Programs of an older keeper tell of every such connection; these, only of one that never reached the agent.
    if (event.throughAgent && event.type !== "fail") return;
    if (event.joined !== null) {
      this.#joined.handle(event, event.joined, endOf(event));
      return;
    }
    switch (event.type) {
      case "open":
        if (this.#open.size < MAX_OPEN) {
          this.#open.set(event.sockCookie, this.#options.recorder.opened(this.#recordOf(event)));
        }
        return;
      case "close": {
        const record = this.#open.get(event.sockCookie) ?? this.#options.recorder.opened(this.#recordOf(event));
        this.#open.delete(event.sockCookie);
        record.closed(endOf(event));
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
        this.#refused(event, { flag: "DENY", cause: "refused-by-kernel", message: words[event.reason ?? ""] ?? "" });
        return;
      case "direct":
        return; // Its open event follows.
    }
  }

  #refused(event: KernelEvent, end: Pick<Outcome, "flag" | "cause" | "message">): void {
    this.#options.recorder.refused(this.#recordOf(event), { ...end, durationUs: 0 });
  }

  #recordOf(event: KernelEvent): ConnectionRecord {
    const { mesh, judge, workloadOf } = this.#options;
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
      decision:
        inbound && own !== null
          ? summarize(judge(plaintextFacts({ client: event.source, target: event.destination }, own)))
          : null,
    });
  }
}

function endOf(event: KernelEvent): Outcome {
  // The kernel counts from the application's side; a record counts from the dialling to the dialled one.
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
