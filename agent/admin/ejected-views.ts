// main thread · endpoints that are left out because they fail, as `orlop get ejected` and `orlop explain` show them.
import type { EjectedEndpoint } from "../plan/ejection.ts";

/** An endpoint that is left out for a caller's requests to a Service's port by a rule. */
export type EjectedView = {
  /** `<namespace>/<service>:<port>`, and the Service's namespace. */
  readonly name: string;
  readonly namespace: string;
  readonly endpoint: string;
  /** SPIFFE ID; empty: of all callers, since nobody reaches it. */
  readonly caller: string;
  /** `<namespace>/<route>[<index>]`; empty: by any. */
  readonly rule: string;
  /** What it did, or "probed": a request is finding out whether it serves. */
  readonly reason: EjectedEndpoint["reason"];
  /** How often in a row. */
  readonly times: number;
  /** Until it is probed, or the probe counts as lost; 0: the next request probes it. */
  readonly leftMs: number;
};

/** What all data threads say, each endpoint once. */
export function ejectedViews(reported: readonly EjectedEndpoint[]): readonly EjectedView[] {
  const views = new Map<string, EjectedView>();
  for (const { caller, service, rule, address, port, reason, times, leftMs } of reported) {
    const endpoint = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    const namespace = service.slice(0, service.indexOf("/"));
    const view = { name: service, namespace, endpoint, caller, rule, reason, times, leftMs: Math.max(0, leftMs) };
    views.set([service, endpoint, caller, rule].join(" "), view);
  }
  return [...views].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, view]) => view);
}

/** So many are named; the rest is counted. */
const NAMED = 5;

/** For a caller, as a step of `orlop explain`; null: none is left out. */
export function ejectedText(views: readonly EjectedView[], caller: string): string | null {
  const own = views.filter((view) => view.caller === "" || view.caller === caller);
  if (own.length === 0) return null;
  const named = own.slice(0, NAMED).map(({ name, endpoint, rule, reason, leftMs }) => {
    const by = rule === "" ? "" : ` by ${rule}`;
    return `${endpoint} of ${name}${by} (${reason}, ${Math.ceil(leftMs / 1_000)} s left)`;
  });
  const more = own.length > NAMED ? `, and ${own.length - NAMED} more` : "";
  return `left out for this caller: ${named.join(", ")}${more}`;
}
