// 1 · main thread · keeps the kernel's backends of virtual addresses equal to what podVips says of the pods of this node. A change costs the
// pods and Services that it bears on: a node with a hundred pods has a hundred rows for each Service that they answer for.
import { fullName } from "../mesh/full-name.ts";
import { getOrAdd } from "../mesh/selector-index.ts";
import type { Service } from "../mesh/service.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Pair, VipBackends, VipEntry } from "./pair-maps.ts";
import { type LocalPod, podVips } from "./pair-verdicts.ts";
import type { VerdictWorld } from "./plaintext-verdicts.ts";

/** `text` is empty where the backends are not known. */
type VipRow = { readonly entry: VipEntry; readonly text: string };
type VipRows = Map<string, VipRow>;

export type VipTableOptions = {
  readonly world: VerdictWorld;
  /** Whether the kernel's table joins the pair on the port. */
  readonly joins: (pair: Pair, port: number) => boolean;
  /** A row did not fit. */
  readonly full: () => void;
};

/** Whose rows may be others than they were: these pods' to any Service, and any pod's to these Services. */
export type VipScope = { readonly pods: ReadonlySet<LocalPod>; readonly services: ReadonlySet<string> };

const keyOf = ({ podIdx, vip, port }: VipEntry): string => `${podIdx} ${vip} ${port}`;

export class VipTable {
  readonly #options: VipTableOptions;
  readonly #map: VipBackends;
  /** By Service; by nothing, what an earlier agent has written. */
  #written = new Map<string, VipRows>();

  /** What an earlier agent wrote is written again, since its backends are not read. */
  constructor(map: VipBackends, options: VipTableOptions) {
    this.#map = map;
    this.#options = options;
    this.#written.set("", new Map(map.keys().map((entry) => [keyOf(entry), { entry, text: "" }])));
  }

  /** Writes all rows of these pods to these Services, and removes all others. */
  writeAll(pods: readonly LocalPod[], services: readonly Service[]): void {
    const before: VipRows = new Map([...this.#written.values()].flatMap((rows) => [...rows]));
    this.#written = new Map();
    const idxOf = indicesOf(pods);
    for (const pod of pods)
      for (const service of services)
        for (const key of this.#writeRows(pod, service, before, idxOf)) before.delete(key);
    for (const { entry } of before.values()) this.#map.delete(entry);
  }

  /**
   * Writes the rows of the scope. The Services are the same values as when their rows were written, and no pod has left.
   * @param pods all that are here
   * @param services all that pods here answer for
   */
  write(pods: readonly LocalPod[], services: readonly Service[], scope: VipScope): void {
    const idxOf = indicesOf(pods);
    const named = new Set<string>();
    for (const service of services) {
      const key = fullName(service);
      named.add(key);
      const rows = this.#written.get(key) ?? new Map();
      for (const pod of scope.services.has(key) ? pods : scope.pods) {
        const wanted = this.#writeRows(pod, service, rows, idxOf);
        for (const vip of service.vips)
          for (const { port } of service.ports) {
            const entry = { podIdx: pod.podIdx, vip, port };
            if (!wanted.has(keyOf(entry))) this.#remove(rows, entry);
          }
      }
    }
    // No pod here answers for these any more.
    for (const [key, rows] of this.#written) {
      if (named.has(key)) continue;
      for (const { entry } of rows.values()) this.#map.delete(entry);
      this.#written.delete(key);
    }
  }

  /** The keys of the rows that the pod has to the Service from here on. */
  #writeRows(
    pod: LocalPod,
    service: Service,
    before: ReadonlyMap<string, VipRow>,
    idxOf: ReadonlyMap<string, number>,
  ): ReadonlySet<string> {
    const { world, joins, full } = this.#options;
    const joinsPod = (destination: Workload, port: number): boolean =>
      joins({ sourceIdx: pod.podIdx, destinationIdx: idxOf.get(destination.uid) ?? -1 }, port);
    const wanted = new Set<string>();
    for (const { vip, port, backends } of podVips(pod.workload, world, joinsPod, [service])) {
      const entry = { podIdx: pod.podIdx, vip, port };
      const [key, text] = [keyOf(entry), JSON.stringify(backends)];
      const isWritten = before.get(key)?.text === text;
      // Where a list does not fit, an older list must not stay; without a list the agent chooses.
      if (isWritten || this.#map.put(entry, backends)) {
        wanted.add(key);
        getOrAdd(this.#written, fullName(service), (): VipRows => new Map()).set(key, { entry, text });
      } else full();
    }
    return wanted;
  }

  #remove(rows: VipRows, entry: VipEntry): void {
    if (rows.delete(keyOf(entry))) this.#map.delete(entry);
  }
}

const indicesOf = (pods: readonly LocalPod[]): ReadonlyMap<string, number> =>
  new Map(pods.map(({ podIdx, workload }) => [workload.uid, podIdx]));
