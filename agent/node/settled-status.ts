// main thread · what an operator hears of the configuration: what is written counts as in force when every data thread judges by it.
import type { ConfigurationSource, SourceStatus } from "../control/source.ts";
import type { DataThreads } from "../threads/data-threads.ts";

export type SettledStatusParts = {
  readonly source: Pick<ConfigurationSource, "status">;
  readonly threads: Pick<DataThreads, "batchesSent" | "batchesApplied">;
};

/** The source's status, as it was with the last batch of updates that every thread has. */
export class SettledStatus {
  readonly #parts: SettledStatusParts;
  #settled: SourceStatus;
  /** With batches that some thread has not applied, in their order. */
  readonly #coming: { readonly batch: number; readonly status: SourceStatus }[] = [];

  constructor(parts: SettledStatusParts) {
    this.#parts = parts;
    this.#settled = parts.source.status();
  }

  /** The threads were sent a batch of the source's, which says behind it, and in the same turn, that it is in force. */
  sent(): void {
    const { source, threads } = this.#parts;
    queueMicrotask(() => {
      this.#settle();
      this.#coming.push({ batch: threads.batchesSent, status: source.status() });
    });
  }

  status(): SourceStatus {
    this.#settle();
    const { source, threads } = this.#parts;
    // Then also what has changed without a batch.
    if (threads.batchesApplied === threads.batchesSent) this.#settled = source.status();
    return this.#settled;
  }

  #settle(): void {
    const { batchesApplied } = this.#parts.threads;
    const first = this.#coming.findIndex(({ batch }) => batch > batchesApplied);
    const over = this.#coming.splice(0, first < 0 ? this.#coming.length : first);
    this.#settled = over.at(-1)?.status ?? this.#settled;
  }
}
