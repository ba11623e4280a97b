// main thread · builder · takes each batch of the source into the mesh, the data threads and the kernel's tables, in this order. The
// tables write nothing while another agent holds the node.
import type { ConfigurationSource } from "../control/source.ts";
import type { DirectSweep } from "../kernel/direct-sweep.ts";
import type { KernelWatch } from "../kernel/kernel-watch.ts";
import type { PairTables } from "../kernel/pair-tables.ts";
import type { KernelTables } from "../kernel/plaintext-tables.ts";
import type { MeshStore } from "../mesh/store.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { LimitBuffers } from "../threads/limit-buffers.ts";
import type { Built } from "./built.ts";
import type { NodeEnrollment } from "./enrollment.ts";
import type { SettledStatus } from "./settled-status.ts";

export type MeshFollowerParts = {
  readonly source: Pick<ConfigurationSource, "run">;
  readonly mesh: Pick<MeshStore, "apply">;
  readonly threads: Pick<DataThreads, "tell">;
  readonly settled: Pick<SettledStatus, "sent">;
  readonly limits: Pick<LimitBuffers, "before">;
  readonly watch: Pick<KernelWatch, "beforeMeshChange" | "afterMeshChange">;
  readonly pairs: Pick<PairTables, "changed">;
  readonly tables: Pick<KernelTables, "setDestinations">;
  readonly directs: Pick<DirectSweep, "sweep">;
  readonly enrollment: Pick<NodeEnrollment, "followNames" | "localPods" | "meshChanged">;
  /** From here on this agent accepts nothing. Policy still ends connections that are open here. */
  readonly leaving: AbortSignal;
  /** The mesh is in force; comes again after each change. */
  readonly onApplied: () => void;
};

/** Follows the source until it is closed. */
export function followMesh(parts: MeshFollowerParts): Built<void> {
  const { source, mesh, threads, settled, limits, watch, pairs, tables, directs, enrollment, leaving, onApplied } =
    parts;
  const closed = new AbortController();
  const ended = source.run((updates) => {
    watch.beforeMeshChange();
    const change = mesh.apply(updates);
    const buffers = limits.before(updates);
    if (buffers.length > 0) threads.tell({ op: "limit-cells", limits: buffers });
    threads.tell({ op: "updates", updates, more: false });
    settled.sent();
    watch.afterMeshChange();
    if (leaving.aborted) return;
    enrollment.followNames();
    pairs.changed(change, enrollment.localPods());
    void directs.sweep(tables.setDestinations(change));
    onApplied();
    void enrollment.meshChanged();
  }, closed.signal);
  return {
    thing: undefined,
    close: async () => {
      closed.abort();
      await ended;
    },
  };
}
