// keeper · other addresses of an enrolled pod, in place: neither capture nor listeners go meanwhile.
import { isIpv6 } from "../mesh/ip.ts";
import {
  addressTaken,
  type Enrollment,
  type EnrollmentRefusal,
  isOpen,
  notThere,
  type OpenEnrollment,
  type PodNamespace,
  type PodRow,
  type PodRows,
} from "./enrollment-states.ts";
import type { PodTable } from "./pod-table.ts";
import type { ProtectedPods } from "./protected-pods.ts";

export class Readdressing {
  readonly #rows: PodRows;
  readonly #table: PodTable;
  readonly #protectedPods: ProtectedPods;

  constructor(rows: PodRows, table: PodTable, protectedPods: ProtectedPods) {
    this.#rows = rows;
    this.#table = table;
    this.#protectedPods = protectedPods;
  }

  async readdress(found: OpenEnrollment, addresses: readonly string[]): Promise<OpenEnrollment | EnrollmentRefusal> {
    const { row, namespace } = found;
    if (sameAddresses(row.addresses, addresses)) return found;
    const absent = await namespace.lacks(addresses);
    if (absent !== undefined) return notThere(absent);
    const taken = this.#table.holderOf(addresses, row.uid);
    if (taken) return addressTaken(taken, row.uid);
    const spread = await namespace.routeToListener(addresses);
    const after = { ...found, row: { ...row, addresses, spread } };
    if (found.state === "captured") this.#rows.readdress(row, after.row, this.#failDirectOf(found));
    const protectedPods = this.#protectedPods;
    if (found.state === "captured" && protectedPods.has(row.uid)) protectedPods.add(row.uid, capturedUnder(after.row));
    this.#table.set(after);
    return after;
  }

  /** An address may have come late, or gone and come back; without its route the family shares its local ports. */
  async routeAgain(podIdx: number): Promise<void> {
    const found = this.#table.get(podIdx);
    if (found === undefined || !isOpen(found)) return;
    const { row, namespace } = found;
    const spread = await namespace.routeToListener(row.addresses);
    if (spread.length === row.spread.length && spread.every((family) => row.spread.includes(family))) return;
    const after = { ...found, row: { ...row, spread } };
    if (found.state === "captured") this.#rows.capture(after.row, this.#failDirectOf(found));
    this.#table.set(after);
  }

  /** What an earlier keeper wrote is known by what it left protected. */
  #failDirectOf({ row, failDirect }: Extract<Enrollment, { readonly state: "captured" }>): boolean {
    return failDirect ?? !this.#protectedPods.has(row.uid);
  }
}

export function capturedUnder({ addresses }: PodRow): { readonly addresses?: readonly string[] } {
  return addresses.length > 0 ? { addresses } : {};
}

/** Of a family the only address. Undefined: there is none, or somebody has to say which of several is the pod's. */
export function ownAddresses({ addresses }: PodNamespace): readonly string[] | undefined {
  const isPlain = addresses.filter(isIpv6).length <= 1 && addresses.filter((address) => !isIpv6(address)).length <= 1;
  return isPlain && addresses.length > 0 ? addresses : undefined;
}

function sameAddresses(own: readonly string[], addresses: readonly string[]): boolean {
  return own.length === addresses.length && own.every((address) => addresses.includes(address));
}
