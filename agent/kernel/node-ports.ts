// main thread · ports of this node's pods that programs of the node, let in by the keeper, may reach: what the source knows of a
// pod's probes and lifecycle hooks, in the kernel's bytes.
import { orlopInKey } from "../abi.ts";
import type { NativeMap } from "../engine/native-maps.ts";
import { checkPort, entriesOf, expectLayout, littleEndian, putUnlessFull, u32, view } from "./maps.ts";

/** Port 0: every port. */
const ANY = 0;

export class NodePorts {
  readonly #map: NativeMap;
  /** What the map has, by pod. */
  readonly #written = new Map<number, ReadonlySet<number>>();

  /** Reads what an earlier agent wrote. */
  constructor(map: NativeMap) {
    expectLayout(map, orlopInKey.size, 4);
    this.#map = map;
    const read = new Map<number, Set<number>>();
    for (const [key] of entriesOf(map)) {
      const podIdx = view(key).getUint32(orlopInKey.podIdx, littleEndian);
      const ports = read.get(podIdx) ?? new Set();
      read.set(podIdx, ports.add(view(key).getUint16(orlopInKey.port, false)));
    }
    for (const [podIdx, ports] of read) this.#written.set(podIdx, ports);
  }

  /**
   * @param ports null: every port
   * What goes, goes first. `narrowed`: a port may not be reached any more. `full`: a port did not fit, so that it is not reached.
   */
  set(podIdx: number, ports: readonly number[] | null): { readonly narrowed: boolean; readonly full: boolean } {
    const desired = ports ?? [ANY];
    const before = this.#written.get(podIdx) ?? new Set();
    const gone = [...before].filter((port) => !desired.includes(port));
    for (const port of gone) this.#map.delete(keyOf(podIdx, port));
    const fitting = desired.filter((port) => before.has(port) || putUnlessFull(this.#map, keyOf(podIdx, port), u32(1)));
    if (fitting.length === 0) this.#written.delete(podIdx);
    else this.#written.set(podIdx, new Set(fitting));
    return { narrowed: gone.length > 0 && !fitting.includes(ANY), full: fitting.length < desired.length };
  }
}

function keyOf(podIdx: number, port: number): Uint8Array {
  checkPort(port);
  const key = new Uint8Array(orlopInKey.size);
  view(key).setUint32(orlopInKey.podIdx, podIdx, littleEndian);
  view(key).setUint16(orlopInKey.port, port, false);
  return key;
}
