// main thread · who tells us what the mesh is: file, cluster or xDS. Types only; every source speaks MeshUpdate.
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import type { Acceptance, Problem } from "./kinds/value.ts";
import type { LeftOutPod } from "./left-out.ts";

/** One batch is applied as a whole. The first batch of a source names everything there is. */
export type Emit = (updates: readonly MeshUpdate[]) => void;

/** How a kind of an API's objects is doing. */
export type KindStatus = {
  readonly kind: string;
  /** Objects that the API server has, as far as they were read. */
  readonly objects: number;
  /** "listing": all of it is being read; "watching": its changes come as they happen; "away": it cannot be read, and `why`. */
  readonly state: "listing" | "watching" | "away";
  /** RFC 3339: since then it cannot be read, and what was read before stays in force; empty: it can. */
  readonly awaySince: string;
  readonly why: string;
};

export type SourceStatus = {
  /** "static-file", or the name of an API. */
  readonly kind: string;
  /** Where it reads, for people. */
  readonly from: string;
  /** Whether a mistake holds back everything that was read with it, or closes its own object alone. */
  readonly acceptance: Acceptance;
  /**
   * - waiting: nothing was ever accepted, so nothing may be assumed
   * - synced: what is written is in force
   * - rejected: what is written is wrong; what was accepted before stays in force
   * - held: what is written may take protection away, and somebody may still be writing it; what was accepted before stays in force
   *   until the file has been still for some seconds
   * - partial: some objects are wrong, and are in force in their closed form or as they were before (docs/policy.md); all others are in
   *   force as they are written
   * - stale: the source does not answer, so that something may have changed since; what it said before stays in force
   */
  readonly state: "waiting" | "synced" | "rejected" | "held" | "partial" | "stale";
  /** What runs was read from the last good copy on disk, since the original was wrong, held or away when this process started. */
  readonly fromLastGood: boolean;
  /** RFC 3339 of the last accepted configuration; empty before. For the last good copy: when that was accepted. */
  readonly appliedAt: string;
  readonly objects: number;
  /** Why it was rejected or is held, or what is wrong with single objects, until mended. */
  readonly problems: readonly Problem[];
  /** What is known but not honoured, in the configuration that runs. */
  readonly findings: readonly Problem[];
  /** Pods of this node that are in the mesh by their labels, and stay outside; empty for files. */
  readonly leftOut: readonly LeftOutPod[];
  /** Each kind that is read of an API; empty for files. */
  readonly kinds: readonly KindStatus[];
};

export interface ConfigurationSource {
  /** Emits until the signal aborts, then resolves. Rejects only by a bug: bad configuration is a status. */
  run(emit: Emit, signal: AbortSignal): Promise<void>;
  status(): SourceStatus;
}
