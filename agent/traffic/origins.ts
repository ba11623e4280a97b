// 21 · data thread · where requests of this thread's pods may go, as the engine knows it: a number for each pod and each way to an
// endpoint. The engine keeps connections by number, so nothing of a pod is ever another pod's. A number is never another way's: a request
// was judged for its way, and may come to its number after that was dropped.
import type { Origin, OriginPool } from "../engine/answers.ts";

export type OriginRoute = Origin["route"];

export type OriginEngine = {
  readonly define: (origin: Origin) => void;
  readonly drop: (origin: number) => void;
};

/** Then a number that has not been used for long is dropped: its idle connections end. */
const MOST = 10_000;
/** The engine's largest number (ORLOP_MOST_ORIGIN). */
const LAST = 2 ** 32 - 1;

/** What its connections carry: copies of requests never share a connection with requests, which would wait for them. */
export type OriginUse = "requests" | "copies";
type DefinedOrigin = Origin & { readonly use: OriginUse; isUsed: boolean };

export class Origins {
  readonly #engine: OriginEngine;
  readonly #limit: number;
  /** Of each pod, by the address to which its way goes: few ways have both in common. */
  readonly #ofPod = new Map<number, Map<string, DefinedOrigin[]>>();
  /** In the order in which they are looked at when there are too many. */
  readonly #all = new Set<DefinedOrigin>();
  readonly #copiesHere = new Set<DefinedOrigin>();
  readonly #numbers = new Set<number>();
  #last: number;

  /** @param last the number given last */
  constructor(engine: OriginEngine, limit: number = MOST, last = 0) {
    this.#engine = engine;
    this.#limit = limit;
    this.#last = last;
  }

  /** Each request comes by here, nearly always for a way that is known: so no text is made of a way, and nothing is moved. */
  numberOf(podIdx: number, route: OriginRoute, pool?: OriginPool, use: OriginUse = "requests"): number {
    const known = this.#ofPod.get(podIdx)?.get(route.to.address);
    if (known !== undefined) {
      for (const each of known) {
        if (each.use !== use || !isSamePool(each.pool, pool)) continue;
        if (each.route !== route && !isSameWay(each.route, route)) continue;
        each.isUsed = true;
        return each.origin;
      }
    }
    while (this.#all.size >= this.#limit) this.#forgetUnused();
    const defined = { origin: this.#nextNumber(), podIdx, route, use, isUsed: true };
    const origin: DefinedOrigin = pool === undefined ? defined : { ...defined, pool };
    this.#engine.define(origin);
    this.#add(origin);
    return origin.origin;
  }

  /** After four billion of them they begin anew: no request is as old. */
  #nextNumber(): number {
    do this.#last = this.#last < LAST ? this.#last + 1 : 1;
    while (this.#numbers.has(this.#last));
    return this.#last;
  }

  /** The pod has gone: neither its own requests nor those to it go on by these. Its index may be another pod's soon. */
  dropPod(podIdx: number): void {
    for (const each of this.#all)
      if (each.podIdx === podIdx || (each.route.type === "dial" && each.route.podIdx === podIdx)) this.#forget(each);
  }

  /**
   * Copies between pods of this node were judged by what held then, and nobody judges them again: what of them is under way ends, and what
   * was asked for is not sent. Copies that come later get other numbers.
   */
  dropCopiesHere(): void {
    for (const each of this.#copiesHere) this.#forget(each);
  }

  /** The first that nobody has used since it was looked at last. */
  #forgetUnused(): void {
    for (const each of this.#all) {
      if (!each.isUsed) {
        this.#forget(each);
        return;
      }
      each.isUsed = false;
      this.#all.delete(each);
      this.#all.add(each);
    }
  }

  #add(origin: DefinedOrigin): void {
    const { podIdx, route } = origin;
    const ofPod = this.#ofPod.get(podIdx) ?? new Map<string, DefinedOrigin[]>();
    const there = ofPod.get(route.to.address) ?? [];
    this.#ofPod.set(podIdx, ofPod.set(route.to.address, there));
    there.push(origin);
    this.#all.add(origin);
    this.#numbers.add(origin.origin);
    if (origin.use === "copies" && route.type === "dial") this.#copiesHere.add(origin);
  }

  #forget(origin: DefinedOrigin): void {
    const { podIdx, route } = origin;
    const ofPod = this.#ofPod.get(podIdx);
    const rest = ofPod?.get(route.to.address)?.filter((each) => each !== origin) ?? [];
    if (rest.length > 0) ofPod?.set(route.to.address, rest);
    else ofPod?.delete(route.to.address);
    if (ofPod?.size === 0) this.#ofPod.delete(podIdx);
    this.#all.delete(origin);
    this.#numbers.delete(origin.origin);
    this.#copiesHere.delete(origin);
    this.#engine.drop(origin.origin);
  }
}

/** A DestinationRule that changes is another: what is open stays as it was opened. */
function isSamePool(a: OriginPool | undefined, b: OriginPool | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  if (a.cap?.key !== b.cap?.key || a.cap?.most !== b.cap?.most || a.cap?.mostWaiting !== b.cap?.mostWaiting)
    return false;
  return a.connectMs === b.connectMs && a.idleMs === b.idleMs && a.mostRequests === b.mostRequests;
}

/** Of two ways to the same address. What differs most comes first. */
function isSameWay(a: OriginRoute, b: OriginRoute): boolean {
  if (a.to.port !== b.to.port) return false;
  switch (a.type) {
    case "relay":
      return b.type === "relay";
    case "dial":
      return b.type === "dial" && a.podIdx === b.podIdx && a.from?.address === b.from?.address;
    case "tunnel":
      return (
        b.type === "tunnel" &&
        a.identity === b.identity &&
        a.expect === b.expect &&
        a.authority === b.authority &&
        a.forwarded === b.forwarded &&
        a.baggage === b.baggage
      );
  }
}
