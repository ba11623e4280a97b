// any thread · routes by the Services that they are about. Kept up to date change by change.
import { fullName } from "./full-name.ts";
import type { HttpRoute } from "./http-rule.ts";

const none: readonly HttpRoute[] = Object.freeze([]);

export class RouteIndex {
  readonly #byKey = new Map<string, HttpRoute>();
  /** By `<namespace>/<name>` of a parent; a list is replaced, never changed in place. */
  readonly #byService = new Map<string, readonly HttpRoute[]>();

  get(key: string): HttpRoute | undefined {
    return this.#byKey.get(key);
  }

  /** In no order. */
  of(service: string): readonly HttpRoute[] {
    return this.#byService.get(service) ?? none;
  }

  values(): Iterable<HttpRoute> {
    return this.#byKey.values();
  }

  add(route: HttpRoute): void {
    this.#byKey.set(fullName(route), route);
    for (const service of servicesOf(route)) this.#byService.set(service, [...this.of(service), route]);
  }

  remove(route: HttpRoute): void {
    this.#byKey.delete(fullName(route));
    for (const service of servicesOf(route)) {
      const rest = this.of(service).filter((other) => other !== route);
      if (rest.length > 0) this.#byService.set(service, rest);
      else this.#byService.delete(service);
    }
  }
}

/** Each once. */
export function servicesOf({ parents }: HttpRoute): ReadonlySet<string> {
  return new Set(parents.map(({ service }) => service));
}
