// any thread · routes by the Services that they are about. Kept up to date change by change.
import { fullName, type NamespacedName } from "./full-name.ts";
import type { RouteParent } from "./http-rule.ts";

/** Of any kind. */
export type RouteOfParents = NamespacedName & { readonly kind: string; readonly parents: readonly RouteParent[] };

/** By which a route is found in an index. An HTTPRoute and a GRPCRoute, which share an index, may have a name in common. */
export function routeKey(route: Pick<RouteOfParents, "kind" | "namespace" | "name">): string {
  return route.kind === "GRPCRoute" ? `${fullName(route)} ${route.kind}` : fullName(route);
}

export class RouteIndex<Route extends RouteOfParents> {
  readonly #none: readonly Route[] = Object.freeze([]);
  readonly #byKey = new Map<string, Route>();
  /** By `<namespace>/<name>` of a parent; a list is replaced, never changed in place. */
  readonly #byService = new Map<string, readonly Route[]>();

  get(key: string): Route | undefined {
    return this.#byKey.get(key);
  }

  /** In no order. */
  of(service: string): readonly Route[] {
    return this.#byService.get(service) ?? this.#none;
  }

  values(): Iterable<Route> {
    return this.#byKey.values();
  }

  add(route: Route): void {
    this.#byKey.set(routeKey(route), route);
    for (const service of servicesOf(route)) this.#byService.set(service, [...this.of(service), route]);
  }

  remove(route: Route): void {
    this.#byKey.delete(routeKey(route));
    for (const service of servicesOf(route)) {
      const rest = this.of(service).filter((other) => other !== route);
      if (rest.length > 0) this.#byService.set(service, rest);
      else this.#byService.delete(service);
    }
  }
}

/** Each once. */
export function servicesOf({ parents }: Pick<RouteOfParents, "parents">): ReadonlySet<string> {
  return new Set(parents.map(({ service }) => service));
}
