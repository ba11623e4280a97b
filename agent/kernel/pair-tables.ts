// 1 · main thread · keeps the kernel's verdicts on pairs of local pods equal to what the evaluator says, and has the keeper end the
// connections that they no longer allow. Verdicts are kept per pair and asked again only where what they depend on has changed; a
// change of the mesh that concerns no pod of this node costs a look.
import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMapClass } from "../engine/native-maps.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { Logger } from "../observe/log.ts";
import type { Judge } from "../policy/evaluate.ts";
import { type Pair, PairVerdicts, VipBackends } from "./pair-maps.ts";
import type { LocalPod, PortVerdict } from "./pair-verdicts.ts";
import { PodSurroundings } from "./pod-surroundings.ts";
import { closeGroup, type TableRules, type TableWriter, tableChange, writeChange } from "./table-change.ts";
import { VerdictCache } from "./verdict-cache.ts";
import { VipTable } from "./vip-table.ts";

export type PairTablesOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly NativeMap: NativeMapClass;
  /** Asks the keeper to end the connections of this source on which the map says END. */
  readonly sever: (podIdx: number) => Promise<void>;
  readonly log: Logger;
};

type PairMaps = { readonly pairs: PairVerdicts; readonly vips: VipTable; readonly close: () => void };
type PairRow = { readonly pair: Pair; readonly verdicts: readonly PortVerdict[] };

const RETRY_MS = 1_000;
const nothing: readonly PortVerdict[] = [];
const ended: readonly PortVerdict[] = [{ port: 0, verdict: "end" }];
const keyOf = ({ sourceIdx, destinationIdx }: Pair): string => `${sourceIdx} ${destinationIdx}`;
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
    const pairs = new PairVerdicts(natives[0]);
    const vips = new VipTable(new VipBackends(natives[1]), {
      world: this.#options,
      joins: (pair, port) => this.#joins(pair, port),
      full: () => this.#noteFull("vip_backends"),
    });
    const close = (): void => {
      for (const map of natives) map.close();
    };
    this.#open = { pairs, vips, close };
    this.#written = new Map();
    for (const entry of pairs.entries()) {
      const verdicts = this.#written.get(keyOf(entry))?.verdicts ?? nothing;
      this.#written.set(keyOf(entry), { pair: entry, verdicts: [...verdicts, entry] });
    }
    this.#surroundings = null;
    this.#here = new Set();
  }

  /** After the store applied `change`. */
  changed(change: MeshChange, pods: readonly LocalPod[]): void {
    if (!this.#isOf(pods) || this.#surroundings?.touchedBy(change) !== false) this.#update(pods, change);
  }

  /** Pods may have come or gone. */
  setPods(pods: readonly LocalPod[]): void {
    if (!this.#isOf(pods)) this.#update(pods, null);
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
    if (this.#open === null) return;
    this.#writeAll(this.#take(pods), this.#open);
    void this.#sever();
  }

  /**
   * Writes what may be another after `change`, or, with null, since the pods were others. Everything, where a Service is another or a pod has
   * left, where the tables are full, and where the connections of a former identity are being ended.
   */
  #update(pods: readonly LocalPod[], change: MeshChange | null): void {
    if (this.#open === null) return;
    const [before, known] = [this.#pods, this.#here];
    const isKnown = this.#surroundings !== null && !this.#full && (change?.services.size ?? 0) === 0;
    const surroundings = this.#take(pods);
    if (!isKnown || this.#changing.size > 0 || !known.isSubsetOf(this.#here)) this.#writeAll(surroundings, this.#open);
    else this.#writeSome(before, change, surroundings, this.#open);
    void this.#sever();
  }

  #take(pods: readonly LocalPod[]): PodSurroundings {
    const known = this.#here;
    this.#pods = pods;
    this.#here = new Set(pods.map(({ podIdx }) => podIdx));
    for (const podIdx of this.#here) if (!known.has(podIdx)) this.#due.add(podIdx);
    this.#noteIdentities(pods);
    this.#surroundings = new PodSurroundings(pods, this.#options.mesh);
    return this.#surroundings;
  }

  #writeAll({ services }: PodSurroundings, open: PairMaps): void {
    const pods = this.#pods;
    this.#verdicts.keepOnly(this.#here);
    const wanted = new Set<string>();
    for (const destination of pods) {
      const { ask } = this.#verdicts.towards(destination, this.#options);
      for (const source of pods) {
        if (source === destination) continue;
        const pair = { sourceIdx: source.podIdx, destinationIdx: destination.podIdx };
        wanted.add(keyOf(pair));
        this.#write(pair, this.#changing.has(source.podIdx) ? ended : ask(source), open);
      }
    }
    for (const [key, { pair }] of this.#written) if (!wanted.has(key)) this.#write(pair, nothing, open);
    open.vips.writeAll(pods, services);
  }

  #writeSome(
    before: readonly LocalPod[],
    change: MeshChange | null,
    { services }: PodSurroundings,
    open: PairMaps,
  ): void {
    const { mesh } = this.#options;
    const [pods, was] = [this.#pods, new Map(before.map(({ podIdx, workload }) => [podIdx, workload]))];
    const moved = new Set(pods.filter(({ podIdx, workload }) => was.get(podIdx) !== workload));
    /** Services of which the rows of any pod may be others, and not those of moved pods alone. */
    const touched = new Set([...(change?.endpointsOf ?? []), ...(change?.routedServices ?? [])]);
    for (const destination of pods) {
      const { isAsBefore, ask } = this.#verdicts.towards(destination, this.#options);
      let isAnother = false;
      for (const source of isAsBefore ? moved : pods) {
        if (source === destination) continue;
        const pair = { sourceIdx: source.podIdx, destinationIdx: destination.podIdx };
        if (this.#write(pair, ask(source), open) && !moved.has(source)) isAnother = true;
      }
      if (isAnother) for (const service of mesh.servicesOf(destination.workload)) touched.add(fullName(service));
    }
    open.vips.write(pods, services, { pods: moved, services: touched });
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

  /** Whether any row of the pair is another now. */
  #write(pair: Pair, verdicts: readonly PortVerdict[], { pairs }: PairMaps): boolean {
    const key = keyOf(pair);
    const before = this.#written.get(key)?.verdicts ?? nothing;
    if (before === verdicts) return false;
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
    const isAnother = !fitted || change.put.length + change.remove.length > 0;
    if (fitted && (before.length === 0 || !isEnded)) return isAnother;
    // A connection ends in both namespaces: the reset of the one is not relied upon in the other.
    for (const podIdx of [pair.sourceIdx, pair.destinationIdx]) if (this.#here.has(podIdx)) this.#due.add(podIdx);
    return isAnother;
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

function writerOf(pair: Pair, pairs: PairVerdicts): TableWriter<PortVerdict> {
  return {
    put: ({ port, verdict }) => pairs.put({ ...pair, port, verdict }),
    remove: ({ port }) => void pairs.delete({ ...pair, port }),
  };
}
