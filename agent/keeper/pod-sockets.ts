// 3 · keeper · sockets born inside a pod's network namespace: its listeners, held here and lent to agents, and
// unconnected ones for the agent to dial with. The keeper accepts nothing and reads nothing from any of them.
import { closeSync } from "node:fs";
import { ORLOP_PORT_HBONE, ORLOP_PORT_INBOUND, ORLOP_PORT_OUTBOUND } from "../abi.ts";
import { canonicalIp } from "../mesh/ip.ts";
import type { PodThread } from "./addon.ts";
import type { HeldListener, OpenRoom, PodRoom, Refusal } from "./enrollment.ts";
import type { Log } from "./lend.ts";
import type { ListenerKind, SocketKind } from "./protocol.ts";

type Place = { readonly kind: ListenerKind; readonly family: 4 | 6; readonly address: string; readonly port: number };

const familyOf = (address: string): 4 | 6 => (address.includes(":") ? 6 : 4);

/** What a pod listens on for us: loopback for what the hooks steer there, its own addresses for tunnels. */
export function listenerPlaces(addresses: readonly string[], hasIpv6Loopback: boolean): Place[] {
  const loopbacks = hasIpv6Loopback ? ["127.0.0.1", "::1"] : ["127.0.0.1"];
  const place =
    (kind: ListenerKind, port: number) =>
    (address: string): Place => ({
      kind,
      family: familyOf(address),
      address,
      port,
    });
  return [
    ...loopbacks.map(place("outbound", ORLOP_PORT_OUTBOUND)),
    // Reached only by what sk_lookup assigns; the accepted socket's local address is the one that was dialled.
    ...loopbacks.map(place("inbound", ORLOP_PORT_INBOUND)),
    ...addresses.map(place("hbone", ORLOP_PORT_HBONE)),
  ];
}

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

class Room implements PodRoom {
  readonly netnsCookie: bigint;
  readonly listeners: readonly HeldListener[];
  readonly preservesSource: boolean;
  readonly #thread: PodThread;
  readonly #netnsFd: number;
  readonly #log: Log;

  constructor(
    made: Pick<PodRoom, "netnsCookie" | "listeners" | "preservesSource">,
    entered: { readonly thread: PodThread; readonly netnsFd: number; readonly log: Log },
  ) {
    this.netnsCookie = made.netnsCookie;
    this.listeners = made.listeners;
    this.preservesSource = made.preservesSource;
    this.#thread = entered.thread;
    this.#netnsFd = entered.netnsFd;
    this.#log = entered.log;
  }

  async makeSockets(kind: SocketKind, count: number): Promise<number[]> {
    return [...(await this.#thread.sockets(this.#netnsFd, kind, count))];
  }

  async close(options: { readonly restore: boolean }): Promise<void> {
    for (const { fd } of this.listeners) closeSync(fd);
    try {
      if (options.restore) await this.#thread.restoreNamespace(this.#netnsFd);
    } catch (error) {
      // Rule and route stay in a namespace of which we ask nothing more; only marked packets would notice them.
      this.#log.warn("a pod's namespace keeps our rule and route", { error: String(error) });
    } finally {
      closeSync(this.#netnsFd);
    }
  }
}

/** @returns what enrolment opens a pod's namespace with; every descriptor is closed again when it refuses or fails. */
export function roomOpener(thread: PodThread, log: Log): OpenRoom {
  return async (netnsFd, addresses) => {
    const listeners: HeldListener[] = [];
    const undo = (): void => {
      for (const { fd } of listeners) closeSync(fd);
      closeSync(netnsFd);
    };
    try {
      const info = await thread.podInfo(netnsFd);
      const present = new Set(info.addresses.map((text) => canonicalIp(text.split("%")[0] ?? "")));
      const absent = addresses.find((address) => !present.has(address));
      if (absent !== undefined) {
        undo();
        return refusal("address-mismatch", `${absent} is not an address of the pod's network namespace`);
      }
      const { preservesSource, problem } = await thread.prepareNamespace(netnsFd);
      if (!preservesSource)
        log.warn("applications of a pod will not see their clients' addresses", { addresses, problem });
      for (const place of listenerPlaces(addresses, present.has("::1"))) {
        const fd = await thread.listen(netnsFd, place.address, place.port, { transparent: false });
        listeners.push({ ...place, fd });
      }
      return new Room({ netnsCookie: info.cookie, listeners, preservesSource }, { thread, netnsFd, log });
    } catch (error) {
      undo();
      if (codeOf(error) !== "EADDRINUSE") throw error;
      const message = `a port of Orlop's (15001, 15006, 15008) is taken in the pod: by an application, or by an agent that outlived its keeper`;
      return refusal("listeners-held", message);
    }
  };
}

const refusal = (refused: Refusal["refused"], message: string): Refusal => ({ refused, message });
