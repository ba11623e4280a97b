// 1 · main thread · keeps the kernel's verdict tables equal to what the evaluator says of the mesh as it is.
// Differences only, the strictest first; a table that is full refuses, so nothing is lost by it but reach.

import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMapClass } from "../engine/native-maps.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import type { Judge } from "../policy/evaluate.ts";
import { Destinations } from "./destinations.ts";
import { Gate, InByPort, OutByDst } from "./maps.ts";
import { difference, failDirect, type InEntry, inEntries } from "./plaintext-verdicts.ts";

export type KernelTablesOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly NativeMap: NativeMapClass;
  readonly log: Logger;
};

type Open = {
  readonly inbound: InByPort;
  readonly outbound: OutByDst;
  readonly gate: Gate;
  readonly close: () => void;
};

export class KernelTables {
  readonly #options: KernelTablesOptions;
  #open: Open | null = null;
  #inbound = new Map<number, readonly InEntry[]>();
  #destinations: Destinations | null = null;
  /** Before the mesh was read, its silence about a destination says nothing: what an earlier agent wrote stays. */
  #meshKnown = false;
  #full = false;

  constructor(options: KernelTablesOptions) {
    this.#options = options;
  }

  /** The keeper lent the maps. What an earlier agent wrote is read, and mended where the mesh says otherwise. */
  opened(maps: LentMaps): void {
    const { NativeMap } = this.#options;
    this.#open?.close();
    const natives = [new NativeMap(maps.in_by_port), new NativeMap(maps.out_by_dst), new NativeMap(maps.gate)] as const;
    const [inbound, outbound, gate] = natives;
    this.#open = {
      inbound: new InByPort(inbound),
      outbound: new OutByDst(outbound),
      gate: new Gate(gate),
      close: () => {
        for (const one of natives) one.close();
      },
    };
    this.#destinations = new Destinations(this.#options, this.#open.outbound.entries());
    if (this.#meshKnown) this.setDestinations(null);
    this.#inbound = new Map();
  }

  get gate(): Gate | null {
    return this.#open?.gate ?? null;
  }

  /** Never once a destination did not fit: the kernel could not tell it from one that nobody knows. */
  failDirect(workload: Workload): boolean {
    return !this.#full && failDirect(workload, this.#options);
  }

  /** Plaintext verdicts of an enrolled pod, as the mesh is now. True: what could pass before may not all pass now. */
  setPod(podIdx: number, workload: Workload): boolean {
    if (this.#open === null) return false;
    const { inbound } = this.#open;
    const written = this.#inbound.get(podIdx) ?? this.#readPod(podIdx, inbound);
    const desired = inEntries(podIdx, workload, this.#options);
    const { put, remove } = difference(desired, written);
    const passed = written.some(({ verdict }) => verdict === "pass");
    let fitted = true;
    for (const { port, verdict } of put) fitted &&= inbound.put(podIdx, port, verdict);
    for (const { port } of remove) inbound.delete(podIdx, port);
    if (!fitted) {
      this.#refuseAll(podIdx, inbound);
      return passed;
    }
    this.#inbound.set(podIdx, desired);
    return passed && (remove.length > 0 || put.some(({ verdict }) => verdict !== "pass"));
  }

  removePod(podIdx: number): void {
    const inbound = this.#open?.inbound;
    if (inbound !== undefined) for (const port of inbound.ports(podIdx)) inbound.delete(podIdx, port);
    this.#inbound.delete(podIdx);
  }

  /** What each destination gets while no agent lives. null: everything anew. */
  setDestinations(change: MeshChange | null): void {
    const anew = change === null || !this.#meshKnown;
    this.#meshKnown = true;
    if (this.#open === null || this.#destinations === null) return;
    const { outbound } = this.#open;
    const { put, remove } = anew ? this.#destinations.all() : this.#destinations.changed(change);
    for (const { address, port, verdict } of put) {
      if (outbound.put(address, port, verdict)) continue;
      // A refusal that is not there must not read as what stands for the whole address, or for the unknown (failDirect).
      if (verdict === "refuse") outbound.put(address, 0, "refuse");
      this.#noteFull("out_by_dst");
    }
    for (const { address, port } of remove) outbound.delete(address, port);
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
  }

  #readPod(podIdx: number, inbound: InByPort): InEntry[] {
    return inbound.ports(podIdx).map((port) => ({ podIdx, port, verdict: inbound.get(podIdx, port) ?? "refuse" }));
  }

  /** An exception that did not fit would leave its port to the default: so nothing of the pod passes. A miss refuses, too. */
  #refuseAll(podIdx: number, inbound: InByPort): void {
    for (const port of inbound.ports(podIdx)) inbound.delete(podIdx, port);
    inbound.put(podIdx, 0, "refuse");
    this.#inbound.set(podIdx, this.#readPod(podIdx, inbound));
    this.#noteFull("in_by_port");
  }

  #noteFull(map: string): void {
    if (this.#full) return;
    this.#full = true;
    this.#options.log.error("a kernel table is full: what did not fit is refused", { map });
  }
}
