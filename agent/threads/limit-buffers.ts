// main thread · the buckets of each LimitPolicy, which all data threads share: made before the limit comes into force, kept while its rate
// stays, and what the threads have counted in them.
import { fullName } from "../mesh/full-name.ts";
import type { LimitPolicy } from "../mesh/limit-policy.ts";
import type { MeshUpdate } from "../mesh/mesh-update.ts";
import { LimitCells, type LimitCounts, type LimitState } from "../policy/limit-cells.ts";
import type { LimitBuffer } from "./messages.ts";

type KnownLimit = { readonly policy: LimitPolicy; readonly cells: LimitCells; readonly before: LimitCounts };

const none: LimitCounts = { admitted: 0, limited: 0, overflowed: 0 };

export class LimitBuffers {
  readonly #byName = new Map<string, KnownLimit>();
  readonly #nowNs: () => bigint;

  /** @param nowNs the clock by which the data threads judge */
  constructor(nowNs: () => bigint) {
    this.#nowNs = nowNs;
  }

  /** What the data threads need before these updates. Empty: nothing. */
  before(updates: readonly MeshUpdate[]): readonly LimitBuffer[] {
    const buffers: LimitBuffer[] = [];
    for (const update of updates) {
      if (update.kind !== "limit-policy") continue;
      if (update.op === "remove") {
        if (this.#byName.delete(update.key)) buffers.push({ name: update.key, cells: null });
        continue;
      }
      const name = fullName(update.value);
      const held = this.#byName.get(name);
      if (held !== undefined && countsAlike(held.policy, update.value)) {
        this.#byName.set(name, { ...held, policy: update.value });
        continue;
      }
      const cells = LimitCells.buffer();
      const before = held === undefined ? none : sum(held.before, held.cells.counts);
      this.#byName.set(name, { policy: update.value, cells: new LimitCells(cells), before });
      buffers.push({ name, cells });
    }
    return buffers;
  }

  /** Of the limit `<namespace>/<name>`; undefined: there is none. */
  stateOf(name: string): LimitState | undefined {
    const held = this.#byName.get(name);
    return held && { ...sum(held.before, held.cells.counts), keys: held.cells.busyKeys(this.#nowNs()) };
  }

  /** Each limit that has counted anything. */
  *counted(): Iterable<{ readonly policy: LimitPolicy; readonly counts: LimitCounts }> {
    for (const { policy, cells, before } of this.#byName.values()) {
      const counts = sum(before, cells.counts);
      if (counts.admitted + counts.limited > 0) yield { policy, counts };
    }
  }
}

/** Buckets of the one serve the other: what fills them, and whose they are, is the same. */
function countsAlike(a: LimitPolicy, b: LimitPolicy): boolean {
  const said = ({ requests, unitMs, burst, per, mode }: LimitPolicy) =>
    JSON.stringify([requests, unitMs, burst, per, mode]);
  return said(a) === said(b);
}

function sum(a: LimitCounts, b: LimitCounts): LimitCounts {
  return {
    admitted: a.admitted + b.admitted,
    limited: a.limited + b.limited,
    overflowed: a.overflowed + b.overflowed,
  };
}
