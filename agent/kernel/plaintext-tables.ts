// 1 · main thread · keeps the kernel's verdicts on plaintext equal to what the evaluator says of the mesh as it is. Only differences
// are written, in the order of table-change.ts. Where a table is full, what did not fit is refused: reach is lost, never protection.
import type { LentMaps } from "../engine/keeper-client.ts";
import type { NativeMapClass } from "../engine/native-maps.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Logger } from "../observe/log.ts";
import { nodePortsOf } from "../plan/node-access.ts";
import type { Judge } from "../policy/evaluate.ts";
import { Destinations } from "./destinations.ts";
import { Gate, goesDirect, InByPort, type InEntry, OutByDst, type OutEntry } from "./maps.ts";
import { NodePorts } from "./node-ports.ts";
import { PlaintextAnswers } from "./plaintext-answers.ts";
import { inEntries, inRules } from "./plaintext-verdicts.ts";
import { closeGroup, type TableChange, type TableWriter, tableChange, writeChange } from "./table-change.ts";

export type KernelTablesOptions = {
  readonly mesh: Snapshot;
  readonly judge: Judge;
  readonly NativeMap: NativeMapClass;
  readonly log: Logger;
};

type PlaintextMaps = {
  readonly inbound: InByPort;
  readonly outbound: OutByDst;
  readonly nodePorts: NodePorts;
  readonly close: () => void;
};
type OpenGate = { readonly gate: Gate; readonly close: () => void };

export class KernelTables {
  readonly #options: KernelTablesOptions;
  readonly #answers: PlaintextAnswers;
  #open: PlaintextMaps | null = null;
  #gate: OpenGate | null = null;
  #inbound = new Map<number, readonly InEntry[]>();
  /** By index, from what the pod's rows were written whole: any change of the mesh asks about all pods of the node. */
  #written = new Map<number, { readonly workload: Workload; readonly policyVersion: number }>();
  #destinations: Destinations | null = null;
  /** Addresses of which a refusal did not fit: nothing of theirs goes direct until the keeper lends the maps anew. */
  #refusedAddresses = new Set<string>();
  /** Before the mesh was read, its silence about a destination means nothing: what an earlier agent wrote stays. */
  #meshKnown = false;
  #full = false;

  constructor(options: KernelTablesOptions) {
    this.#options = options;
    this.#answers = new PlaintextAnswers(options);
  }

  /** The keeper lent the maps. What an earlier agent wrote is read, and mended where the mesh says otherwise. */
  opened(maps: LentMaps): void {
    const { NativeMap } = this.#options;
    this.close();
    const natives = [
      new NativeMap(maps.in_by_port),
      new NativeMap(maps.out_by_dst),
      new NativeMap(maps.node_port),
    ] as const;
    const gate = new NativeMap(maps.gate);
    const [inbound, outbound, nodePorts] = natives;
    this.#open = {
      inbound: new InByPort(inbound),
      outbound: new OutByDst(outbound),
      nodePorts: new NodePorts(nodePorts),
      close: () => {
        for (const map of natives) map.close();
      },
    };
    this.#gate = { gate: new Gate(gate), close: () => gate.close() };
    this.#destinations = new Destinations(this.#options, this.#open.outbound.entries());
    this.#refusedAddresses = new Set();
    this.#inbound = new Map();
    this.#written = new Map();
    this.#gate.gate.setMeshWritten(false);
    if (this.#meshKnown) this.setDestinations(null);
  }

  get gate(): Gate | null {
    return this.#gate?.gate ?? null;
  }

  /** Another agent writes the tables from here on. This agent may beat until it closes. */
  yield(): void {
    this.#open?.close();
    this.#open = null;
    this.#gate?.gate.onlyBeat();
  }

  /** Never once a destination did not fit: to the kernel it is as unknown as an address outside the mesh. */
  failDirect(workload: Workload): boolean {
    return !this.#full && this.#answers.of(workload).failDirect;
  }

  /** Plaintext to some port of it is refused. */
  refusesPlaintext(workload: Workload): boolean {
    return this.#answers.of(workload).refusesPlaintext;
  }

  /**
   * Writes the verdicts of an enrolled pod, as the mesh is now, and the ports that programs of the node reach. True: plaintext that
   * could pass before may not all pass now.
   */
  setPod(podIdx: number, workload: Workload): boolean {
    if (this.#open === null) return false;
    const { inbound, nodePorts } = this.#open;
    const { policyVersion } = this.#options.mesh;
    const before = this.#written.get(podIdx);
    if (before?.workload === workload && before.policyVersion === policyVersion) return false;
    this.#written.delete(podIdx);
    const ports = nodePorts.set(podIdx, nodePortsOf(workload));
    if (ports.full)
      this.#options.log.error("a kernel table is full: what did not fit is refused", { map: "node_port" });
    const { isWhole, tightened } = this.#setVerdicts(podIdx, workload, inbound);
    if (isWhole && !ports.full) this.#written.set(podIdx, { workload, policyVersion });
    return tightened || ports.narrowed;
  }

  #setVerdicts(
    podIdx: number,
    workload: Workload,
    inbound: InByPort,
  ): { readonly isWhole: boolean; readonly tightened: boolean } {
    const written = this.#inbound.get(podIdx) ?? readPod(podIdx, inbound);
    const desired = inEntries(podIdx, workload, this.#options);
    const change = tableChange(written, desired, inRules);
    const passed = written.some(({ verdict }) => verdict === "pass");
    if (!writeChange(change, writerOf(inbound))) {
      // An exception that did not fit would leave its port to the default.
      closeGroup(readPod(podIdx, inbound), { podIdx, port: 0, verdict: "refuse" }, inRules, writerOf(inbound));
      this.#inbound.set(podIdx, readPod(podIdx, inbound));
      this.#noteFull("in_by_port");
      return { isWhole: false, tightened: passed };
    }
    this.#inbound.set(podIdx, desired);
    const isTighter = change.remove.length > 0 || change.put.some(({ verdict }) => verdict !== "pass");
    return { isWhole: true, tightened: passed && isTighter };
  }

  removePod(podIdx: number): void {
    this.#open?.nodePorts.set(podIdx, []);
    const inbound = this.#open?.inbound;
    if (inbound !== undefined) {
      writeChange(tableChange(readPod(podIdx, inbound), [], inRules), writerOf(inbound));
    }
    this.#inbound.delete(podIdx);
    this.#written.delete(podIdx);
  }

  /**
   * Writes what each destination gets while no agent lives, and thereby which destinations are the mesh's. null: everything
   * anew.
   * @returns addresses to which connections may have gone direct that must not any more (`joined` of Destinations); null: any may be
   */
  setDestinations(change: MeshChange | null): readonly string[] | null {
    const anew = change === null || !this.#meshKnown;
    this.#meshKnown = true;
    if (this.#open === null || this.#destinations === null) return [];
    const table = anew ? this.#destinations.all() : this.#destinations.changed(change);
    this.#writeDestinations(table, this.#open.outbound);
    if (anew && !this.#full) this.#gate?.gate.setMeshWritten(true);
    if (anew && table.put.length > 0) return null;
    return [...table.joined];
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
    this.#gate?.close();
    this.#gate = null;
  }

  #writeDestinations({ put, remove }: TableChange<OutEntry>, outbound: OutByDst): void {
    for (const { address, port, verdict } of put) {
      if (goesDirect(verdict) && this.#refusedAddresses.has(address)) continue;
      if (outbound.put(address, port, verdict)) continue;
      this.#noteFull("out_by_dst");
      this.#gate?.gate.setMeshWritten(false);
      if (goesDirect(verdict)) continue;
      // Without this row its port would meet the address' default; without a default it is unknown, see failDirect.
      this.#refusedAddresses.add(address);
      outbound.put(address, 0, "refuse");
    }
    for (const { address, port } of remove) outbound.delete(address, port);
  }

  #noteFull(map: string): void {
    if (this.#full) return;
    this.#full = true;
    this.#options.log.error("a kernel table is full: what did not fit is refused", { map });
  }
}

function readPod(podIdx: number, inbound: InByPort): InEntry[] {
  return inbound.ports(podIdx).map((port) => ({ podIdx, port, verdict: inbound.get(podIdx, port) ?? "refuse" }));
}

function writerOf(inbound: InByPort): TableWriter<InEntry> {
  return {
    put: ({ podIdx, port, verdict }) => inbound.put(podIdx, port, verdict),
    remove: ({ podIdx, port }) => void inbound.delete(podIdx, port),
  };
}
