// 3 · keeper · sockets born inside a pod's network namespace: its listeners, held here and lent to agents, and
// unconnected ones for the agent to dial with. The keeper accepts nothing and reads nothing from any of them.
import { closeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { ORLOP_PORT_HBONE, ORLOP_PORT_INBOUND, ORLOP_PORT_OUTBOUND } from "../abi.ts";
import { canonicalIp, isIpv6 } from "../mesh/ip.ts";
import type { PodThread } from "./addon.ts";
import {
  type EnrollmentRefusal,
  type HeldListener,
  type Leave,
  notThere,
  type OpenNamespace,
  type PodNamespace,
} from "./enrollment-states.ts";
import { untilAgentLeft } from "./leaving.ts";
import type { KeeperLog } from "./lend.ts";
import type { ListenerKind, SocketKind } from "./protocol.ts";
import { Surveys } from "./surveys.ts";

type Place = { readonly kind: ListenerKind; readonly family: 4 | 6; readonly address: string; readonly port: number };

function canonical(addresses: readonly string[]): ReadonlySet<string> {
  const texts = addresses.map((text) => canonicalIp(text.split("%")[0] ?? ""));
  return new Set(texts.filter((text) => text !== undefined));
}

/** From other machines. */
const isReachable = (address: string): boolean => !/^(?:127\.|169\.254\.|::1$|fe[89ab])/.test(address);
const familyOf = (address: string): 4 | 6 => (isIpv6(address) ? 6 : 4);

/**
 * What a pod listens on for us, all on loopback: the hooks steer there what is meant for it, and the accepted socket's local
 * address is the address that was dialled. So other addresses of the pod need no other listeners.
 */
export function listenerPlaces(hasIpv6Loopback: boolean): Place[] {
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
    ...loopbacks.map(place("inbound", ORLOP_PORT_INBOUND)),
    ...loopbacks.map(place("hbone", ORLOP_PORT_HBONE)),
  ];
}

const isRejected = (result: PromiseSettledResult<unknown>): result is PromiseRejectedResult =>
  result.status === "rejected";

const codeOf = (error: unknown): unknown => (error instanceof Error && "code" in error ? error.code : undefined);

type Entered = {
  readonly netnsFd: number;
  readonly podAddresses: ReadonlySet<string>;
  /** It had not left yet when it was opened again. */
  readonly cameBack: boolean;
  /** Families whose route to the listener failed, and that was logged. */
  readonly unrouted: Set<4 | 6>;
  /** `netnsFd` is closed, or will be as soon as the last sockets are made. */
  closed: boolean;
  /** Settles when those are made. */
  lent: Promise<unknown>;
};

type OnceLeft = Extract<Leave, { restore: "once-left" }>;

export type PodNamespacesOptions = {
  readonly thread: PodThread;
  /** Of the maps that say what may stay. */
  readonly severFds: Int32Array;
  /** Whether the thread's survey was opened. Without it every pod is looked at by itself. */
  readonly surveys: boolean;
  readonly log: KeeperLog;
  readonly proc: string;
};

/**
 * A call on a joined connection that is under way when both its pods leave has so long to end by itself. Where a pod stays,
 * its own sweep ends the connection at once.
 */
const JOINED_GRACE_MS = 1_000;
/**
 * Rule, route and descriptor stay so long at least: an agent that has judged a call to the pod before it heard that the pod leaves dials the
 * application from its client's address, and has no socket in here until then.
 */
const LEAVING_MS = 3_000;
/** Why a waiting ends early: the pod has come back, and a sweep of its new enrollment judges what it has. */
const CAME_BACK = "came back";

/** Pods' namespaces as enrolment sees them; one for the whole keeper. */
export class PodNamespaces {
  readonly #thread: PodThread;
  readonly #severFds: Int32Array;
  readonly #surveys: Surveys;
  readonly #log: KeeperLog;
  readonly #proc: string;
  /** By cookie: released, but an agent may still be in there. */
  readonly #leaving = new Map<bigint, { readonly stop: AbortController; readonly done: Promise<void> }>();
  #removing = false;

  constructor({ thread, severFds, surveys, log, proc }: PodNamespacesOptions) {
    this.#thread = thread;
    this.#severFds = severFds;
    this.#surveys = new Surveys(
      async (pods) => {
        const podIdxs = pods.map(({ podIdx }) => podIdx);
        if (!surveys) return podIdxs;
        const netnsFds = Int32Array.from(pods, ({ netnsFd }) => netnsFd);
        return [...(await thread.survey(netnsFds, Int32Array.from(podIdxs)))];
      },
      (error) => log.warn("the survey of all pods failed: each is swept by itself", { error: String(error) }),
    );
    this.#log = log;
    this.#proc = proc;
  }

  /** Every descriptor is closed again when it refuses or fails. */
  readonly open: OpenNamespace = async (netnsFd, addresses) => {
    const listeners: HeldListener[] = [];
    let cameBack = false;
    const undo = async (): Promise<void> => {
      for (const { fd } of listeners) closeSync(fd);
      // Its leaving had joined connections to end, and was ended itself.
      if (cameBack) await this.#endJoined(netnsFd);
      closeSync(netnsFd);
    };
    try {
      const info = await this.#thread.podInfo(netnsFd);
      // It comes back before all of it had left: what is there is needed again.
      const leaving = this.#leaving.get(info.cookie);
      cameBack = leaving !== undefined;
      leaving?.stop.abort(CAME_BACK);
      const podAddresses = canonical(info.addresses);
      const absent = addresses.find((address) => !podAddresses.has(address));
      if (absent !== undefined) {
        await undo();
        return notThere(absent);
      }
      // Asked for together: a pod that begins waits for one turn of the thread in place of seven.
      const preparing = this.#thread.prepareNamespace(netnsFd);
      const listening = listenerPlaces(podAddresses.has("::1")).map(async (place) => {
        const fd = await this.#thread.listen(netnsFd, place.address, place.port, { transparent: false });
        listeners.push({ ...place, fd });
      });
      for (const { reason } of (await Promise.allSettled([preparing, ...listening])).filter(isRejected)) throw reason;
      const { preservesSource, problem } = await preparing;
      if (!preservesSource) {
        this.#log.warn("applications of a pod will not see their clients' addresses", { addresses, problem });
      }
      return this.#entered(
        { netnsCookie: info.cookie, listeners, preservesSource, addresses: [...podAddresses].filter(isReachable) },
        { netnsFd, podAddresses, cameBack, unrouted: new Set(), closed: false, lent: Promise.resolve() },
      );
    } catch (error) {
      await undo();
      if (codeOf(error) !== "EADDRINUSE") throw error;
      const message = `a port of Orlop's (15001, 15006, 15008) is taken in the pod: by an application, or by an agent that outlived its keeper`;
      return refusal("listeners-held", message);
    }
  };

  readonly cookieOf = async (netnsFd: number): Promise<bigint> => (await this.#thread.podInfo(netnsFd)).cookie;

  /** Ends what another layout's dst_of_sock marks as bypassing the agent; how many. */
  endMarked(netnsFd: number, sockMapFd: number): Promise<number> {
    return this.#thread.endMarked(netnsFd, sockMapFd);
  }

  /** Ends every waiting for agents; with `restore` their pods' rules and routes go at once. */
  async close(options: { readonly restore: boolean }): Promise<void> {
    this.#removing = options.restore;
    for (const { stop } of this.#leaving.values()) stop.abort();
    await Promise.all([...this.#leaving.values()].map(({ done }) => done));
  }

  /** Without that route the pod's connections share their local ports among all destinations. */
  async #routes({ netnsFd, unrouted }: Entered, addresses: readonly string[]): Promise<(4 | 6)[]> {
    const route = async (family: 4 | 6): Promise<(4 | 6)[]> => {
      const source = addresses.find((address) => familyOf(address) === family);
      if (source === undefined) return [];
      try {
        await this.#thread.routeToListener(netnsFd, source);
        unrouted.delete(family);
        return [family];
      } catch (error) {
        if (unrouted.has(family)) return [];
        unrouted.add(family);
        this.#log.warn("a pod's destinations share its local ports", { source, error: String(error) });
        return [];
      }
    };
    return (await Promise.all([route(4), route(6)])).flat();
  }

  #entered(
    made: Pick<PodNamespace, "netnsCookie" | "listeners" | "preservesSource" | "addresses">,
    entered: Entered,
  ): PodNamespace {
    const { netnsFd } = entered;
    return {
      ...made,
      makeSockets: async (kind: SocketKind, count: number) => {
        if (entered.closed) return [];
        const made = this.#thread.sockets(netnsFd, kind, count);
        entered.lent = Promise.allSettled([made]);
        return [...(await made)];
      },
      lacks: async (addresses) => {
        const present = canonical((await this.#thread.podInfo(netnsFd)).addresses);
        return addresses.find((address) => !present.has(address));
      },
      routeToListener: (addresses) => this.#routes(entered, addresses),
      sever: async (podIdx) => {
        const due = await this.#surveys.isDue({ netnsFd, podIdx });
        return due ? this.#thread.sever(netnsFd, this.#severFds, podIdx) : 0;
      },
      close: async (leave) => {
        for (const { fd } of made.listeners) closeSync(fd);
        if (leave.restore === "once-left") return this.#leave(made.netnsCookie, entered, leave);
        if (leave.restore === "refused" && entered.cameBack) await this.#endJoined(netnsFd);
        if (leave.restore === "now") {
          await this.#endJoined(netnsFd);
          await this.#restore(netnsFd);
        }
        entered.closed = true;
        await entered.lent;
        closeSync(netnsFd);
      },
    };
  }

  #leave(cookie: bigint, entered: Entered, leave: OnceLeft): void {
    const stop = new AbortController();
    const leaving = this.#left(entered, leave, stop.signal);
    const entry = { stop, done: leaving };
    this.#leaving.set(cookie, entry);
    void leaving.then(() => {
      if (this.#leaving.get(cookie) === entry) this.#leaving.delete(cookie);
    });
  }

  async #left(entered: Entered, { pid, guarded }: OnceLeft, stop: AbortSignal): Promise<void> {
    const { netnsFd, podAddresses } = entered;
    const agentLeft = sleep(LEAVING_MS, undefined, { signal: stop, ref: false }).then(
      () => untilAgentLeft({ proc: this.#proc, pid, podAddresses }, stop),
      () => false,
    );
    if (!guarded) await sleep(JOINED_GRACE_MS, undefined, { signal: stop, ref: false }).catch(() => undefined);
    if (stop.reason !== CAME_BACK) await this.#endJoined(netnsFd);
    const left = await agentLeft;
    entered.closed = true;
    await entered.lent;
    // A pod that has come back meanwhile needs its rule and route. What is asked of the thread from here on comes after.
    if ((left && !stop.aborted) || this.#removing) await this.#restore(netnsFd);
    closeSync(netnsFd);
  }

  /** The pod has left the mesh, and nobody will judge them any more. */
  async #endJoined(netnsFd: number): Promise<void> {
    try {
      await this.#thread.sever(netnsFd, this.#severFds, 0);
    } catch (error) {
      // The other end is a pod of the mesh, and its sweep ends the connection, too.
      this.#log.warn("joined connections of a pod that left could not be ended", { error: String(error) });
    }
  }

  async #restore(netnsFd: number): Promise<void> {
    try {
      await this.#thread.restoreNamespace(netnsFd);
    } catch (error) {
      // Rule and route stay in a namespace of which we ask nothing more; only marked packets would notice them.
      this.#log.warn("a pod's namespace keeps our rule and route", { error: String(error) });
    }
  }
}

const refusal = (refused: EnrollmentRefusal["refused"], message: string): EnrollmentRefusal => ({ refused, message });
