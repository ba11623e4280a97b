// 1 · main thread · keeps the kernel's word on pairs of local pods equal to what the evaluator says, and has ended what it no
// longer allows. Verdicts are kept per pair and asked again only where something they depend on has changed; a change of the
// mesh that concerns no pod of this node costs a look whether it does.

import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMapClass } from "../engine/native-maps.ts";
import type { Service } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import type { Judge } from "../policy/evaluate.ts";
import { type PairEntry, PairVerdicts, VipBackends, type VipEntry } from "./pair-maps.ts";
import { type LocalPod, type PodVip, type PortVerdict, pairVerdicts, podVips } from "./pair-verdicts.ts";
import { PodSurroundings } from "./pod-surroundings.ts";

export type PairTablesOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly NativeMap: NativeMapClass;
  /** Asks the keeper to end what the map says END of. */
  readonly sever: (podIdx: number) => Promise<void>;
  readonly log: Logger;
};

type Open = { readonly pairs: PairVerdicts; readonly vips: VipBackends; readonly close: () => void };
type Pair = { readonly sourceIdx: number; readonly destinationIdx: number };
type Said = readonly PortVerdict[];

const RETRY_MS = 1_000;
const nothing: Said = [];
const ended: Said = [{ port: 0, verdict: "end" }];
const keyOf = ({ sourceIdx, destinationIdx }: Pair): string => `${sourceIdx} ${destinationIdx}`;
const vipKey = ({ podIdx, vip, port }: VipEntry): string => `${podIdx} ${vip} ${port}`;
const strictness = { end: 0, stay: 1, join: 2 } as const;

export class PairTables {
  readonly #options: PairTablesOptions;
  #open: Open | null = null;
  #pods: readonly LocalPod[] = [];
  #surroundings: PodSurroundings | null = null;
  #written = new Map<string, { readonly pair: Pair; readonly said: Said }>();
  #writtenVips = new Map<string, { readonly entry: VipEntry; readonly text: string }>();
  /** Sources of which connections may stand that END was said of. */
  readonly #due = new Set<number>();
  /** By index: as whom its connections were joined. */
  readonly #identities = new Map<number, string>();
  /** Sources that are somebody else now, as long as connections of the former may stand: nothing of theirs is joined. */
  readonly #changing = new Set<number>();
  readonly #verdicts = new VerdictCache();
  #retry: NodeJS.Timeout | undefined;
  #full = false;

  constructor(options: PairTablesOptions) {
    this.#options = options;
  }

  /** The keeper lent the maps, with what an earlier agent wrote. What was to be ended then is looked for once more. */
  opened(maps: LentMaps): void {
    const { NativeMap } = this.#options;
    this.#open?.close();
    const natives = [new NativeMap(maps.pair_verdict), new NativeMap(maps.vip_backends)] as const;
    const [pairs, vips] = [new PairVerdicts(natives[0]), new VipBackends(natives[1])];
    const close = (): void => {
      for (const one of natives) one.close();
    };
    this.#open = { pairs, vips, close };
    this.#written = new Map();
    for (const entry of pairs.entries()) {
      const said = this.#written.get(keyOf(entry))?.said ?? nothing;
      this.#written.set(keyOf(entry), { pair: entry, said: [...said, entry] });
      if (entry.verdict === "end") this.#due.add(entry.sourceIdx);
    }
    // Their values are not read: each is written again.
    this.#writtenVips = new Map(vips.keys().map((entry) => [vipKey(entry), { entry, text: "" }]));
    this.#surroundings = null;
  }

  /** After the store applied `change`. */
  changed(change: MeshChange, pods: readonly LocalPod[]): void {
    if (!this.#isOf(pods) || this.#surroundings?.touchedBy(change) !== false) this.set(pods);
  }

  /** Pods may have come or gone. */
  setPods(pods: readonly LocalPod[]): void {
    if (!this.#isOf(pods)) this.set(pods);
  }

  /** Was what stands written for exactly these? */
  #isOf(pods: readonly LocalPod[]): boolean {
    const known = this.#pods;
    return (
      this.#surroundings !== null &&
      known.length === pods.length &&
      known.every((one, at) => one.podIdx === pods[at]?.podIdx && one.workload === pods[at]?.workload)
    );
  }

  /** Everything anew: the captured pods of this node, the mesh as it is now. */
  set(pods: readonly LocalPod[]): void {
    this.#pods = pods;
    const open = this.#open;
    if (open === null) return;
    this.#surroundings = new PodSurroundings(pods, this.#options.mesh);
    this.#noteIdentities(pods);
    const standing = new Set<string>();
    for (const destination of pods) {
      const ask = this.#verdicts.towards(destination, this.#options);
      for (const source of pods) {
        if (source === destination) continue;
        const pair = { sourceIdx: source.podIdx, destinationIdx: destination.podIdx };
        const said = this.#changing.has(source.podIdx) ? ended : ask(source);
        standing.add(keyOf(pair));
        this.#write(pair, said, open);
      }
    }
    for (const [key, { pair }] of this.#written) if (!standing.has(key)) this.#write(pair, nothing, open);
    this.#setVips(pods, open, this.#surroundings.services);
    void this.#sever();
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#open?.close();
    this.#open = null;
  }

  /** Whoever is somebody else now: what was joined as the former goes first, whatever the latter may do. */
  #noteIdentities(pods: readonly LocalPod[]): void {
    const here = new Set(pods.map(({ podIdx }) => podIdx));
    for (const podIdx of this.#identities.keys()) {
      if (here.has(podIdx)) continue;
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

  /** The strictest is put first and goes last, so that no moment in between is weaker than both. */
  #write(pair: Pair, said: Said, { pairs }: Open): void {
    const key = keyOf(pair);
    const before = this.#written.get(key)?.said ?? nothing;
    if (before === said) return;
    const have = new Map(before.map(({ port, verdict }) => [port, verdict]));
    const want = new Map(said.map(({ port, verdict }) => [port, verdict]));
    const put = said.filter(({ port, verdict }) => have.get(port) !== verdict);
    const gone = before.filter(({ port }) => !want.has(port));
    const byStrictness = (one: PortVerdict, other: PortVerdict): number =>
      strictness[one.verdict] - strictness[other.verdict];
    let fitted = true;
    for (const { port, verdict } of put.toSorted(byStrictness)) {
      fitted &&= pairs.put({ ...pair, port, verdict });
    }
    for (const { port } of gone.toSorted((one, other) => byStrictness(other, one))) pairs.delete({ ...pair, port });
    if (!fitted) {
      this.#closePair(pair, [...before, ...said], pairs);
      this.#written.set(key, { pair, said: ended });
    } else if (said.length > 0) this.#written.set(key, { pair, said });
    else this.#written.delete(key);
    if (!fitted || (before.length > 0 && put.some(({ verdict }) => verdict === "end"))) this.#due.add(pair.sourceIdx);
  }

  /** There is no room for all of what was said, so the agent takes all of the pair. What goes first makes the room. */
  #closePair(pair: Pair, entries: Said, pairs: PairVerdicts): void {
    for (const port of new Set(entries.map((one) => one.port))) pairs.delete({ ...pair, port });
    pairs.put({ ...pair, port: 0, verdict: "end" } satisfies PairEntry);
    this.#noteFull("pair_verdict");
  }

  #setVips(pods: readonly LocalPod[], { vips }: Open, services: readonly Service[]): void {
    const standing = new Set<string>();
    const idxOf = new Map(pods.map(({ podIdx, workload }) => [workload.uid, podIdx]));
    for (const { podIdx, workload } of pods) {
      const joins = (destination: Workload, port: number): boolean =>
        this.#joins({ sourceIdx: podIdx, destinationIdx: idxOf.get(destination.uid) ?? -1 }, port);
      for (const one of podVips(workload, this.#options, joins, services)) {
        const entry = { podIdx, vip: one.vip, port: one.port };
        standing.add(vipKey(entry));
        this.#writeVip(entry, one, vips);
      }
    }
    for (const [key, { entry }] of this.#writtenVips) {
      if (standing.has(key)) continue;
      vips.delete(entry);
      this.#writtenVips.delete(key);
    }
  }

  #writeVip(entry: VipEntry, { backends }: PodVip, vips: VipBackends): void {
    const key = vipKey(entry);
    const text = JSON.stringify(backends);
    if (this.#writtenVips.get(key)?.text === text) return;
    if (vips.put(entry, backends)) this.#writtenVips.set(key, { entry, text });
    // An older list must not stand; without one the agent chooses.
    else {
      vips.delete(entry);
      this.#writtenVips.delete(key);
      this.#noteFull("vip_backends");
    }
  }

  #joins(pair: Pair, port: number): boolean {
    const said = this.#written.get(keyOf(pair))?.said ?? nothing;
    return (said.find((one) => one.port === port) ?? said.find((one) => one.port === 0))?.verdict === "join";
  }

  /** What could not be asked for, for want of a keeper perhaps, is due until it could. */
  async #sever(): Promise<void> {
    clearTimeout(this.#retry);
    const due = [...this.#due];
    // One that began to change later had END written later: it waits for the next.
    const changing = new Set(this.#changing);
    const results = await Promise.all(due.map((podIdx) => this.#severOne(podIdx)));
    const failed = results.filter((done) => !done).length;
    if (failed > 0 && this.#open !== null) {
      this.#options.log.warn("connections that are no longer allowed could not be ended yet", { pods: failed });
      this.#retry = setTimeout(() => void this.#sever(), RETRY_MS);
      this.#retry.unref();
    }
    const settled = due.filter((podIdx, index) => results[index] === true && changing.has(podIdx));
    for (const podIdx of settled) this.#changing.delete(podIdx);
    if (settled.length > 0) this.set(this.#pods);
  }

  async #severOne(podIdx: number): Promise<boolean> {
    this.#due.delete(podIdx);
    try {
      await this.#options.sever(podIdx);
      return true;
    } catch {
      // A pod that has gone meanwhile has no connections left; of any other it is asked again, and #sever says so.
      const here = this.#pods.some((pod) => pod.podIdx === podIdx);
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

/** What was said of each pair, as long as all that it depends on is the same. */
class VerdictCache {
  readonly #known = new WeakMap<
    Workload,
    WeakMap<Workload, { readonly ground: readonly unknown[]; readonly said: Said }>
  >();

  /** Asks about connections to `destination`, as the mesh is now. */
  towards(
    { workload: destination }: LocalPod,
    world: Pick<PairTablesOptions, "mesh" | "judge">,
  ): (source: LocalPod) => Said {
    const { mesh } = world;
    const general: unknown[] = [
      ...mesh.authorizationPoliciesFor(destination),
      null,
      ...mesh.peerAuthenticationsFor(destination),
      null,
      ...destination.addresses.map((one) => mesh.workloadAt(one)),
    ];
    /** By namespace of the source: a Service's address means its own Service first. */
    const grounds = new Map<string, readonly unknown[]>();
    const bySource = this.#known.get(destination) ?? new WeakMap();
    this.#known.set(destination, bySource);
    return ({ workload: source }) => {
      const ground =
        grounds.get(source.namespace) ??
        general.concat(destination.addresses.map((one) => mesh.serviceAt(one, source.namespace)));
      grounds.set(source.namespace, ground);
      const known = bySource.get(source);
      if (known !== undefined && same(known.ground, ground)) return known.said;
      const said = pairVerdicts(source, destination, world);
      bySource.set(source, { ground, said });
      return said;
    };
  }
}

const same = (one: readonly unknown[], other: readonly unknown[]): boolean =>
  one.length === other.length && one.every((value, index) => value === other[index]);
