// main thread · routes as an operator sees them, each rule in a few words. Pure.
import { namespaceOf } from "../mesh/full-name.ts";
import type { HttpRoute, RouteParent } from "../mesh/http-rule.ts";
import { changesText, matchText, outcomeText, sharesText } from "../mesh/http-rule-text.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { StreamRoute } from "../mesh/stream-route.ts";
import type { RouteView } from "./api.ts";
import { byName } from "./order.ts";
import type { AdminSource } from "./source.ts";

export function routeViews({ mesh }: Pick<AdminSource, "mesh">): readonly RouteView[] {
  const views = [...mesh.httpRoutes()].map((route): RouteView => {
    const rules = route.rules.map((rule) => ({
      name: rule.name,
      matches: rule.matches.map(matchText),
      to: outcomeText(rule),
      changes: changesText(rule),
      from: lineText(rule.from),
    }));
    return { kind: route.kind, ...ofRoute(route), rules };
  });
  const streams = [...mesh.tlsRoutes(), ...mesh.tcpRoutes()].map((route): RouteView => {
    const from = lineText(route.from);
    const rule = { name: "", matches: route.hostnames, to: sharesText(route.backends, "refused"), changes: "", from };
    return { kind: route.kind, ...ofRoute(route), rules: [rule] };
  });
  return [...views, ...streams].toSorted(byName);
}

function ofRoute({ name, namespace, parents, from }: HttpRoute | StreamRoute): Omit<RouteView, "kind" | "rules"> {
  const isOwn = ({ service }: RouteParent): boolean => namespaceOf(service) === namespace;
  const role = parents.every(isOwn) ? "producer" : parents.some(isOwn) ? "both" : "consumer";
  return { name, namespace, parents: parents.map(parentText), role, from: lineText(from) };
}

function parentText({ service, port, portName }: RouteParent): string {
  return port === null && portName === null ? service : `${service}:${port ?? portName}`;
}
