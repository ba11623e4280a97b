// any thread · what routes of all of Gateway API's kinds have alike: their age, parents, and references to Services. Readers. Pure.
import { fullName } from "../../mesh/full-name.ts";
import type { RouteParent } from "../../mesh/http-rule.ts";
import { dnsLabel, dnsSubdomain, namespacedMetadata, port, portName } from "./fields.ts";
import {
  growingObject,
  integer,
  list,
  object,
  optional,
  type Read,
  type Reader,
  required,
  string,
  unsupported,
} from "./schema.ts";
import type { Value } from "./value.ts";

const SERVICE = { group: "", kind: "Service" } as const;

/** RFC 3339, as an API server writes it. A file seldom has it. */
const time: Reader<number> = (value, path, report) => {
  const read = string(value, path, report);
  if (read === undefined) return undefined;
  const ms = Date.parse(read);
  return Number.isNaN(ms) ? 0 : ms;
};

/** Of a backend, without its weight. */
export const reference = {
  group: optional(string, ""),
  kind: optional(string, "Service"),
  name: required(dnsSubdomain),
  namespace: optional(dnsLabel, null),
  port: optional(port, null),
};
const parentRef = object({
  ...reference,
  group: optional(string, "gateway.networking.k8s.io"),
  kind: optional(string, "Gateway"),
  sectionName: optional(portName, null),
});

/** Of a backend. */
export const weighted = { ...reference, weight: optional(integer(0, 1_000_000), 1) };
export const parentRefs = optional(list(parentRef, { max: 32 }), []);
export const routeMetadata = growingObject({ ...namespacedMetadata, creationTimestamp: optional(time, 0) });

/** Gateway API's own limit, of a rule. */
export const MOST_BACKENDS = 16;

const isService = ({ group, kind }: { readonly group: string; readonly kind: string }): boolean =>
  (group === SERVICE.group || group === "core") && kind === SERVICE.kind;

export const nameService = "name a Service and its port";

/**
 * `<namespace>/<name>` of the Service that a backend names; null: it names something else.
 * @param own the route's namespace
 * @param unknown hears what keeps requests from it: no Service, or no port
 */
export function serviceOf(
  read: Pick<Read<typeof parentRef>, keyof typeof reference>,
  own: string,
  unknown: (what: string) => void,
): string | null {
  if (!isService(read)) {
    unknown(`names a ${read.kind}`);
    return null;
  }
  if (read.port === null) unknown("has no port");
  return fullName({ namespace: read.namespace ?? own, name: read.name });
}

/** Of a route whose rules are about requests. */
export const uncountedHostnames = (instead: string): ReturnType<typeof unsupported> =>
  unsupported(list(string), "a route of a Service is about its address, whatever name was called (GEP-1294)", instead);

/** @param own the route's namespace */
export function parentsOfServices(refs: readonly Read<typeof parentRef>[], own: string): readonly RouteParent[] {
  return refs.filter(isService).map((parent) => ({
    service: fullName({ namespace: parent.namespace ?? own, name: parent.name }),
    port: parent.port,
    portName: parent.sectionName,
  }));
}

/** Whether a Service is among its parents, as far as can be read: a route of gateways alone is for others to read. */
export function isOfServices(document: Value): boolean {
  const entry = (value: Value | undefined, name: string): Value | undefined =>
    value?.type === "map" ? value.entries.get(name)?.value : undefined;
  const parents = entry(entry(document, "spec"), "parentRefs");
  if (parents?.type !== "list") return false;
  return parents.items.some((parent) => {
    const kind = entry(parent, "kind");
    return kind?.type === "string" && kind.value === SERVICE.kind;
  });
}
