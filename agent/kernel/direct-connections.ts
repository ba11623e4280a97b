// main thread · which pods may have a connection open that went direct to given addresses: by the events since this agent reads
// them, and by the kernel's sums for what was open before. Whatever is not certain counts as "may". Pure.
import type { KernelEvent, SockCookie } from "./events.ts";
import type { TrafficRow } from "./traffic-sums.ts";

type DirectConnection = { readonly podIdx: number; readonly address: string };

/** Beyond, nothing is certain until this agent reads anew. */
const MAX_OPEN = 50_000;

export class DirectConnections {
  readonly #open = new Map<SockCookie, DirectConnection>();
  /** By pod: how many were open before, and have not been seen to end. */
  #before = new Map<number, number>();
  #overflowed = false;

  /** This agent reads events from here on. `rows`: the kernel's sums, read before the first event. */
  begin(rows: readonly TrafficRow[]): void {
    this.#open.clear();
    this.#overflowed = false;
    this.#before = new Map();
    for (const { podIdx, opened, closed } of rows.filter(isOpenDirect)) {
      this.#before.set(podIdx, (this.#before.get(podIdx) ?? 0) + opened - closed);
    }
  }

  handle({ type, outside, podIdx, sockCookie, destination }: KernelEvent): void {
    if (!outside) return;
    if (type === "open") {
      if (this.#open.size >= MAX_OPEN) this.#overflowed = true;
      else this.#open.set(sockCookie, { podIdx, address: destination.address });
    } else if (type === "close" && !this.#open.delete(sockCookie)) {
      const left = (this.#before.get(podIdx) ?? 0) - 1;
      if (left > 0) this.#before.set(podIdx, left);
      else this.#before.delete(podIdx);
    }
  }

  /**
   * @param rows reads the kernel's sums: not done where it is certain that nobody has such a connection, as after most changes
   * @param areAllSeen no event was lost since `begin`
   * @param addresses null: to any
   */
  podsTo(
    addresses: readonly string[] | null,
    { rows, areAllSeen }: { readonly rows: () => readonly TrafficRow[]; readonly areAllSeen: boolean },
  ): readonly number[] {
    const isCertain = addresses !== null && areAllSeen && !this.#overflowed;
    const may = new Set(this.#before.keys());
    const wanted = new Set(addresses);
    for (const { podIdx, address } of this.#open.values()) if (wanted.has(address)) may.add(podIdx);
    if (isCertain && may.size === 0) return [];
    const pods = new Set(
      rows()
        .filter(isOpenDirect)
        .map(({ podIdx }) => podIdx),
    );
    return isCertain ? [...pods].filter((podIdx) => may.has(podIdx)) : [...pods];
  }
}

function isOpenDirect({ way, direction, opened, closed }: TrafficRow): boolean {
  return way === "direct" && direction === "out" && opened > closed;
}
