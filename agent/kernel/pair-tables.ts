// 1 · main thread · keeps the kernel's verdicts on pairs of local pods equal to what the evaluator says, and has the keeper end the
// connections that they no longer allow. Verdicts are kept per pair and asked again only where what they depend on has changed; a
// change of the mesh that concerns no pod of this node costs a look.
import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMapClass } from "../engine/native-maps.ts";
import { getOrAdd } from "../mesh/selector-index.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import type { Judge } from "../policy/evaluate.ts";
import { type Backend, type Pair, PairVerdicts, VipBackends, type VipEntry } from "./pair-maps.ts";
import { type LocalPod, type PortVerdict, pairVerdicts, podVips } from "./pair-verdicts.ts";
import { PodSurroundings } from "./pod-surroundings.ts";
import { closeGroup, type TableRules, type TableWriter, tableChange, writeChange } from "./table-change.ts";

export type PairTablesOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly NativeMap: NativeMapClass;
  /** Asks the keeper to end the connections of this source on which the map says END. */
  readonly sever: (podIdx: number) => Promise<void>;
  readonly log: Logger;
};

type PairMaps = { readonly pairs: PairVerdicts; readonly vips: VipBackends; readonly close: () => void };
type PairRow = { readonly pair: Pair; readonly verdicts: readonly PortVerdict[] };

const RETRY_MS = 1_000;
const nothing: readonly PortVerdict[] = [];
const ended: readonly PortVerdict[] = [{ port: 0, verdict: "end" }];
const keyOf = ({ sourceIdx, destinationIdx }: Pair): string => `${sourceIdx} ${destinationIdx}`;
const vipKey = ({ podIdx, vip, port }: VipEntry): string => `${podIdx} ${vip} ${port}`;
const weakness = { end: 0, stay: 1, join: 2 } as const;
/** Of the rows of one pair. A miss means that the agent takes the connection. */
const rules: TableRules<PortVerdict> = {
  keyOf: ({ port }) => String(port),
  weakness: ({ verdict }) => weakness[verdict],
};

export class PairTables {
  readonly #options: PairTablesOptions;
  #open: PairMaps | null = null;
  #pods: readonly LocalPod[] = [];
  /** Their indices; none before the maps that are open now were written. */
  #here: ReadonlySet<number> = new Set();
  #surroundings: PodSurroundings | null = null;
  #written = new Map<string, PairRow>();
  #writtenVips = new Map<string, { readonly entry: VipEntry; readonly text: string }>();
  /** Pods that may have connections which are to be ended. */
  readonly #due = new Set<number>();
  /** By index: the identity under which the pod's connections were joined. */
  readonly #identities = new Map<number, string>();
  /**
   * Sources that have another identity now, as long as connections of the former one may be open: none of theirs is joined.
   */
  readonly #changing = new Set<number>();
  readonly #verdicts = new VerdictCache();
  #retry: NodeJS.Timeout | undefined;
  #full = false;
  #severing = false;
  #asked = false;
  /** Said already that something could not be severed. */
  #late = false;

  constructor(options: PairTablesOptions) {
    this.#options = options;
  }

  /**
   * The keeper lent the maps, with what an earlier agent wrote. What was joined meanwhile or before is not known here, so the
   * first whole write is followed by a sweep of every pod.
   */
  opened(maps: LentMaps): void {
    const { NativeMap } = this.#options;
    this.#open?.close();
    const natives = [new NativeMap(maps.pair_verdict), new NativeMap(maps.vip_backends)] as const;
    const [pairs, vips] = [new PairVerdicts(natives[0]), new VipBackends(natives[1])];
    const close = (): void => {
      for (const map of natives) map.close();
    };
    this.#open = { pairs, vips, close };
    this.#written = new Map();
    for (const entry of pairs.entries()) {
      const verdicts = this.#written.get(keyOf(entry))?.verdicts ?? nothing;
      this.#written.set(keyOf(entry), { pair: entry, verdicts: [...verdicts, entry] });
    }
    // The backends in them are not read: each entry is written again.
    this.#writtenVips = new Map(vips.keys().map((entry) => [vipKey(entry), { entry, text: "" }]));
    this.#surroundings = null;
    this.#here = new Set();
  }

  /** After the store applied `change`. */
  changed(change: MeshChange, pods: readonly LocalPod[]): void {
    if (!this.#isOf(pods) || this.#surroundings?.touchedBy(change) !== false) this.set(pods);
  }

  /** Pods may have come or gone. */
  setPods(pods: readonly LocalPod[]): void {
    if (!this.#isOf(pods)) this.set(pods);
  }

  /** Are the tables written for exactly these pods? */
  #isOf(pods: readonly LocalPod[]): boolean {
    const known = this.#pods;
    return (
      this.#surroundings !== null &&
      known.length === pods.length &&
      known.every((pod, at) => pod.podIdx === pods[at]?.podIdx && pod.workload === pods[at]?.workload)
    );
  }

  /** Writes everything anew, for the captured pods of this node and the mesh as it is now. */
  set(pods: readonly LocalPod[]): void {
    const open = this.#open;
    if (open === null) return;
    const known = this.#here;
    this.#pods = pods;
    this.#here = new Set(pods.map(({ podIdx }) => podIdx));
    for (const podIdx of this.#here) if (!known.has(podIdx)) this.#due.add(podIdx);
    this.#surroundings = new PodSurroundings(pods, this.#options.mesh);
    this.#noteIdentities(pods);
    const wanted = new Set<string>();
    for (const destination of pods) {
      const ask = this.#verdicts.towards(destination, this.#options);
      for (const source of pods) {
        if (source === destination) continue;
        const pair = { sourceIdx: source.podIdx, destinationIdx: destination.podIdx };
        wanted.add(keyOf(pair));
        this.#write(pair, this.#changing.has(source.podIdx) ? ended : ask(source), open);
      }
    }
    for (const [key, { pair }] of this.#written) if (!wanted.has(key)) this.#write(pair, nothing, open);
    if (this.#here.size !== known.size || !this.#here.isSubsetOf(known)) this.#verdicts.keepOnly(this.#here);
    this.#setVips(pods, open, this.#surroundings.services);
    void this.#sever();
  }

  /** Writes nothing from here on, unless the maps are opened again. */
  close(): void {
    clearTimeout(this.#retry);
    this.#open?.close();
    this.#open = null;
  }

  /** A pod with another identity: what was joined under the former one is ended first, whatever the new one may do. */
  #noteIdentities(pods: readonly LocalPod[]): void {
    for (const podIdx of this.#identities.keys()) {
      if (this.#here.has(podIdx)) continue;
      this.#identities.delete(podIdx);
      this.#changing.delete(podIdx);
    }
    for (const { podIdx, workload } of pods) {
      const before = this.#identities.get(podIdx);
      this.#identities.set(podIdx, workload.identity.text);
      if (before === undefined || before === workload.identity.text) continue;
      this.#changing.add(podIdx);
      this.#due.add(podIdx);
    }
  }

  #write(pair: Pair, verdicts: readonly PortVerdict[], { pairs }: PairMaps): void {
    const key = keyOf(pair);
    const before = this.#written.get(key)?.verdicts ?? nothing;
    if (before === verdicts) return;
    const change = tableChange(before, verdicts, rules);
    const writer = writerOf(pair, pairs);
    const fitted = writeChange(change, writer);
    if (!fitted) {
      // There is no room for all verdicts of the pair, so the agent takes all of it.
      closeGroup([...before, ...verdicts], { port: 0, verdict: "end" }, rules, writer);
      this.#noteFull("pair_verdict");
      this.#written.set(key, { pair, verdicts: ended });
    } else if (verdicts.length > 0) this.#written.set(key, { pair, verdicts });
    else this.#written.delete(key);
    const isEnded = verdicts.length === 0 || change.put.some(({ verdict }) => verdict === "end");
    if (fitted && (before.length === 0 || !isEnded)) return;
    // A connection ends in both namespaces: the reset of the one is not relied upon in the other.
    for (const podIdx of [pair.sourceIdx, pair.destinationIdx]) if (this.#here.has(podIdx)) this.#due.add(podIdx);
  }

  #setVips(pods: readonly LocalPod[], { vips }: PairMaps, services: readonly Service[]): void {
    const wanted = new Set<string>();
    const idxOf = new Map(pods.map(({ podIdx, workload }) => [workload.uid, podIdx]));
    for (const { podIdx, workload } of pods) {
      const joins = (destination: Workload, port: number): boolean =>
        this.#joins({ sourceIdx: podIdx, destinationIdx: idxOf.get(destination.uid) ?? -1 }, port);
      for (const { vip, port, backends } of podVips(workload, this.#options, joins, services)) {
        const entry = { podIdx, vip, port };
        wanted.add(vipKey(entry));
        this.#writeVip(entry, backends, vips);
      }
    }
    for (const [key, { entry }] of this.#writtenVips) {
      if (wanted.has(key)) continue;
      vips.delete(entry);
      this.#writtenVips.delete(key);
    }
  }

  #writeVip(entry: VipEntry, backends: readonly Backend[], vips: VipBackends): void {
    const key = vipKey(entry);
    const text = JSON.stringify(backends);
    if (this.#writtenVips.get(key)?.text === text) return;
    if (vips.put(entry, backends)) this.#writtenVips.set(key, { entry, text });
    // An older list must not stay in the table; without a list the agent chooses.
    else {
      vips.delete(entry);
      this.#writtenVips.delete(key);
      this.#noteFull("vip_backends");
    }
  }

  #joins(pair: Pair, port: number): boolean {
    const verdicts = this.#written.get(keyOf(pair))?.verdicts ?? nothing;
    return (verdicts.find((row) => row.port === port) ?? verdicts.find((row) => row.port === 0))?.verdict === "join";
  }

  /** One sweep at a time: what becomes due meanwhile has the next. */
  async #sever(): Promise<void> {
    this.#asked = true;
    if (this.#severing) return;
    this.#severing = true;
    try {
      while (this.#asked) {
        this.#asked = false;
        await this.#severDue();
      }
    } finally {
      this.#severing = false;
    }
  }

  /** What the keeper could not be asked for stays due until it can. */
  async #severDue(): Promise<void> {
    clearTimeout(this.#retry);
    // A pod whose identity changes from here on has END written later, and waits for the next turn.
    const changing = [...this.#changing];
    const results = await Promise.all([...this.#due].map((podIdx) => this.#severPod(podIdx)));
    const failed = results.filter((done) => !done).length;
    if (failed > 0) return this.#severLater(failed);
    this.#late = false;
    for (const podIdx of changing) this.#changing.delete(podIdx);
    if (changing.length > 0) this.set(this.#pods);
  }

  #severLater(pods: number): void {
    if (this.#open === null) return;
    if (!this.#late) this.#options.log.warn("connections that are no longer allowed could not be ended yet", { pods });
    this.#late = true;
    this.#retry = setTimeout(() => void this.#sever(), RETRY_MS);
    this.#retry.unref();
  }

  async #severPod(podIdx: number): Promise<boolean> {
    this.#due.delete(podIdx);
    try {
      await this.#options.sever(podIdx);
      return true;
    } catch {
      // A pod that has gone meanwhile has no connections left; of any other it is asked again, and #severLater says so.
      const here = this.#here.has(podIdx);
      if (here) this.#due.add(podIdx);
      return !here;
    }
  }

  #noteFull(map: string): void {
    if (this.#full) return;
    this.#full = true;
    this.#options.log.warn("a kernel table is full: the agent takes what did not fit", { map });
  }
}

/** `ground`: all that the verdicts depend on, the destination among it, but for the source. */
type KnownVerdicts = {
  readonly source: Workload;
  readonly ground: readonly unknown[];
  readonly verdicts: readonly PortVerdict[];
};

/**
 * The verdicts on each pair, as long as all that they depend on is the same. By index instead of by weak reference to a workload: what an
 * old WeakMap holds of a young object gets old with it, so each change left its verdicts and workloads for the next marking of the heap.
 */
class VerdictCache {
  /** By destination, then by source. */
  readonly #known = new Map<number, Map<number, KnownVerdicts>>();

  /** Asks about connections to `destination`, as the mesh is now. */
  towards(
    { podIdx, workload: destination }: LocalPod,
    world: Pick<PairTablesOptions, "mesh" | "judge">,
  ): (source: LocalPod) => readonly PortVerdict[] {
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
    /** By namespace of the source: of several Services with an address, its own namespace's comes first. */
    const grounds = new Map<string, readonly unknown[]>();
    const bySource = getOrAdd(this.#known, podIdx, () => new Map<number, KnownVerdicts>());
    return ({ podIdx: sourceIdx, workload: source }) => {
      const ground = getOrAdd(grounds, source.namespace, () =>
        general.concat(destination.addresses.map((address) => mesh.serviceAt(address, source.namespace))),
      );
      const known = bySource.get(sourceIdx);
      if (known?.source === source && same(known.ground, ground)) return known.verdicts;
      const verdicts = pairVerdicts(source, destination, world);
      bySource.set(sourceIdx, { source, ground, verdicts });
      return verdicts;
    };
  }

  /** Forgets the pods of which there are verdicts, and that are not among these. */
  keepOnly(here: ReadonlySet<number>): void {
    for (const [destinationIdx, bySource] of this.#known) {
      if (!here.has(destinationIdx)) this.#known.delete(destinationIdx);
      else for (const sourceIdx of bySource.keys()) if (!here.has(sourceIdx)) bySource.delete(sourceIdx);
    }
  }
}

const same = (one: readonly unknown[], other: readonly unknown[]): boolean =>
  one.length === other.length && one.every((value, index) => value === other[index]);

function writerOf(pair: Pair, pairs: PairVerdicts): TableWriter<PortVerdict> {
  return {
    put: ({ port, verdict }) => pairs.put({ ...pair, port, verdict }),
    remove: ({ port }) => void pairs.delete({ ...pair, port }),
  };
}
