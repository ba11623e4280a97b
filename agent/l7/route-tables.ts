// 20 · any thread · the lists of rules of a thread: compiled when a request first needs them, and again when their routes have changed.
import { fullName } from "../mesh/full-name.ts";
import type { HttpRoute } from "../mesh/http-rule.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { RouteTable } from "./route-table.ts";
import { routesFor } from "./route-view.ts";

/** `table` was compiled of the routes `about`, which were still the mesh's at routes version `version`. null: no route holds for these callers. */
type Compiled = { readonly about: readonly HttpRoute[]; readonly table: RouteTable | null; readonly version: number };

export class RouteTables {
  readonly #mesh: Pick<Snapshot, "httpRoutesAbout" | "routesVersion">;
  /** By port, then by the caller's namespace. The mesh replaces a Service that changes, and the tables of its old ports go with the ports. */
  readonly #compiled = new WeakMap<ServicePort, Map<string, Compiled>>();

  constructor(mesh: Pick<Snapshot, "httpRoutesAbout" | "routesVersion">) {
    this.#mesh = mesh;
  }

  /** null: requests to this port are not for routes, and go to the Service's own endpoints. */
  of(service: Pick<Service, "namespace" | "name">, port: ServicePort, clientNamespace: string): RouteTable | null {
    const version = this.#mesh.routesVersion;
    const byNamespace = this.#compiled.get(port) ?? new Map<string, Compiled>();
    const known = byNamespace.get(clientNamespace);
    if (known?.version === version) return known.table;
    const about = this.#mesh.httpRoutesAbout(fullName(service));
    // The mesh replaces a list that changes: the same list has the same routes.
    if (known?.about === about) {
      byNamespace.set(clientNamespace, { ...known, version });
      return known.table;
    }
    if (about.length === 0) return null;
    const routes = routesFor(about, service, port, clientNamespace);
    const [first] = routes;
    // Routes of the Service's own namespace hold alike for callers of all namespaces, so a single table serves them.
    const isOwn = clientNamespace !== service.namespace && first?.namespace === service.namespace;
    const compile = (): RouteTable | null => (first === undefined ? null : new RouteTable(routes));
    const table = isOwn ? this.of(service, port, service.namespace) : compile();
    const kept = this.#compiled.get(port) ?? byNamespace;
    kept.set(clientNamespace, { about, table, version });
    this.#compiled.set(port, kept);
    return table;
  }
}
