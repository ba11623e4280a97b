// 21 · data thread · where requests of this thread's pods may go, as the engine knows it: a number for each pod and each way to an
// endpoint. The engine keeps connections by number, so nothing of a pod is ever another pod's.
import type { Origin } from "../engine/answers.ts";
import { endpointText } from "../mesh/endpoint.ts";

export type OriginRoute = Origin["route"];

export type OriginEngine = {
  readonly define: (origin: Origin) => void;
  readonly drop: (origin: number) => void;
};

/** Then the number that is longest unused is dropped: its idle connections end. Far below the engine's largest number. */
const MOST = 10_000;

export class Origins {
  readonly #engine: OriginEngine;
  readonly #limit: number;
  /** In the order of their last use. */
  readonly #byKey = new Map<string, Origin>();
  /** Numbers that are nobody's any more. */
  readonly #free: number[] = [];
  #next = 1;

  constructor(engine: OriginEngine, limit: number = MOST) {
    this.#engine = engine;
    this.#limit = limit;
  }

  numberOf(podIdx: number, route: OriginRoute): number {
    const key = keyOf(podIdx, route);
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.#byKey.delete(key);
      this.#byKey.set(key, known);
      return known.origin;
    }
    for (const [oldest, { origin }] of this.#byKey) {
      if (this.#byKey.size < this.#limit) break;
      this.#forget(oldest, origin);
    }
    const origin = { origin: this.#free.pop() ?? this.#next++, podIdx, route };
    this.#engine.define(origin);
    this.#byKey.set(key, origin);
    return origin.origin;
  }

  /** The pod has gone: neither its own requests nor those to it go on by these. Its index may be another pod's soon. */
  dropPod(podIdx: number): void {
    for (const [key, { origin, podIdx: of, route }] of this.#byKey)
      if (of === podIdx || (route.type === "dial" && route.podIdx === podIdx)) this.#forget(key, origin);
  }

  #forget(key: string, origin: number): void {
    this.#byKey.delete(key);
    this.#free.push(origin);
    this.#engine.drop(origin);
  }
}

/** All that tells a way from another. */
function keyOf(podIdx: number, route: OriginRoute): string {
  const to = `${podIdx} ${route.type} ${endpointText(route.to)}`;
  switch (route.type) {
    case "relay":
      return to;
    case "dial":
      return `${to} ${route.podIdx} ${route.from?.address ?? ""}`;
    case "tunnel":
      return `${to} ${route.identity} ${route.expect} ${route.authority} ${route.forwarded} ${route.baggage}`;
  }
}
