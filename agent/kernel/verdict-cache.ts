// 1 · main thread · the verdicts on each pair of pods, as long as all that they depend on is the same: a change of the mesh asks about the pairs
// that it bears on, of ten thousand that a node with a hundred pods has.
import type { Workload } from "../mesh/workload.ts";
import { type LocalPod, type PortVerdict, pairVerdicts } from "./pair-verdicts.ts";
import type { VerdictWorld } from "./plaintext-verdicts.ts";

/** Of connections to one destination. */
type KnownVerdicts = {
  /** By namespace of the source, all that the verdicts depend on but for the source: of several Services with an address, its own namespace's comes first. */
  readonly grounds: Map<string, readonly unknown[]>;
  /** By index of the source. */
  readonly bySource: Map<number, { readonly source: Workload; readonly verdicts: readonly PortVerdict[] }>;
};

export type Asking = {
  /** Of each source that has not changed since it was asked about, the verdicts are what they were. */
  readonly isAsBefore: boolean;
  readonly ask: (source: LocalPod) => readonly PortVerdict[];
};

/**
 * By index and not by weak reference to a workload: what an old WeakMap holds of a young object gets old with it, so each change would leave
 * its verdicts and workloads for the next marking of the heap.
 */
export class VerdictCache {
  readonly #byDestination = new Map<number, KnownVerdicts>();

  /** About connections to `destination`, as the mesh is now. */
  towards({ podIdx, workload: destination }: LocalPod, world: VerdictWorld): Asking {
    const { mesh } = world;
    const general: unknown[] = [
      destination,
      ...mesh.authorizationPoliciesFor(destination),
      null,
      ...mesh.peerAuthenticationsFor(destination),
      null,
      ...mesh.limitPoliciesFor(destination),
      null,
      ...destination.addresses.map((address) => mesh.workloadAt(address)),
    ];
    const groundOf = (namespace: string): readonly unknown[] =>
      general.concat(destination.addresses.map((address) => mesh.serviceAt(address, namespace)));
    const before = this.#byDestination.get(podIdx);
    const isAsBefore =
      before?.grounds.entries().every(([namespace, ground]) => areSame(ground, groundOf(namespace))) === true;
    const known: KnownVerdicts = isAsBefore && before ? before : { grounds: new Map(), bySource: new Map() };
    this.#byDestination.set(podIdx, known);
    const ask = ({ podIdx: sourceIdx, workload: source }: LocalPod): readonly PortVerdict[] => {
      if (!known.grounds.has(source.namespace)) known.grounds.set(source.namespace, groundOf(source.namespace));
      const asked = known.bySource.get(sourceIdx);
      if (asked?.source === source) return asked.verdicts;
      const verdicts = pairVerdicts(source, destination, world);
      known.bySource.set(sourceIdx, { source, verdicts });
      return verdicts;
    };
    return { isAsBefore, ask };
  }

  /** Forgets all other pods. */
  keepOnly(here: ReadonlySet<number>): void {
    for (const [destinationIdx, { bySource }] of this.#byDestination) {
      if (!here.has(destinationIdx)) this.#byDestination.delete(destinationIdx);
      else for (const sourceIdx of bySource.keys()) if (!here.has(sourceIdx)) bySource.delete(sourceIdx);
    }
  }
}

const areSame = (one: readonly unknown[], other: readonly unknown[]): boolean =>
  one.length === other.length && one.every((value, index) => value === other[index]);
