// main thread · which connections of a small server stay when there are more than it holds: each host that can reach the port may open any number,
// and the kubelet's probe has to be answered among them.
import type { Socket } from "node:net";

export class LatestCallers {
  readonly #most: number;
  /** By address, the oldest first; an address without a connection has no entry. */
  readonly #of = new Map<string, Set<Socket>>();
  #count = 0;

  /** @param most connections that are held at once */
  constructor(most: number) {
    this.#most = most;
  }

  /** Takes it always; beyond the most, the oldest of the address that has most is ended, which may be this one's own. */
  admit(socket: Socket): void {
    const address = socket.remoteAddress ?? "";
    const own = this.#of.get(address) ?? new Set();
    this.#of.set(address, own.add(socket));
    this.#count += 1;
    socket.once("close", () => this.#forget(address, socket));
    if (this.#count <= this.#most) return;
    const [crowd] = [...this.#of].toSorted(([, some], [, other]) => other.size - some.size);
    const [oldest] = crowd?.[1] ?? [];
    if (crowd === undefined || oldest === undefined) return;
    this.#forget(crowd[0], oldest);
    oldest.destroy();
  }

  #forget(address: string, socket: Socket): void {
    const own = this.#of.get(address);
    if (own?.delete(socket) !== true) return;
    this.#count -= 1;
    if (own.size === 0) this.#of.delete(address);
  }
}
