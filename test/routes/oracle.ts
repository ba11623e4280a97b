// Which rule takes a request, written from the texts of Gateway API (apis/v1/httproute_types.go, geps/gep-1294), without an index and
// without a sorted list: every match is tried, and of those that hold the best by the API's criteria is searched.
import type { HttpMatch, HttpRoute, ValueCondition } from "../../agent/mesh/http-rule.ts";

export type AskedRequest = {
  readonly method: string;
  readonly path: string;
  /** Pairs in the order of the query, decoded. */
  readonly query: readonly (readonly [string, string])[];
  readonly headers: readonly (readonly [string, string])[];
};
export type AskedPort = {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly portName: string;
  /** Its author says that it carries something else than HTTP/1. */
  readonly isOther: boolean;
};
export type Taken = { readonly route: string; readonly rule: number; readonly match: number };

/** "no-route": requests to this port are not for routes; null: no rule takes it. */
export function taken(
  routes: readonly HttpRoute[],
  port: AskedPort,
  client: string,
  request: AskedRequest,
): Taken | null | "no-route" {
  const attached = routes.filter((route) => isAttached(route, port));
  const consumer = client === port.namespace ? [] : attached.filter((route) => route.namespace === client);
  const producer = attached.filter((route) => route.namespace === port.namespace);
  const [inForce = producer] = [consumer, producer].filter((group) => group.length > 0);
  if (inForce.length === 0) return "no-route";
  let best: (Taken & { readonly rank: readonly (number | string)[] }) | null = null;
  for (const route of inForce)
    for (const [rule, { matches }] of route.rules.entries())
      for (const [match, condition] of matches.entries()) {
        if (!holds(condition, request)) continue;
        const name = `${route.namespace}/${route.name}`;
        const rank = [...rankOf(condition), route.createdMs, name, rule, match];
        if (best === null || comesBefore(rank, best.rank)) best = { route: name, rule, match, rank };
      }
  return best === null ? null : { route: best.route, rule: best.rule, match: best.match };
}

function isAttached(route: HttpRoute, at: AskedPort): boolean {
  for (const parent of route.parents) {
    if (parent.service !== `${at.namespace}/${at.name}`) continue;
    if (parent.port !== null && parent.port !== at.port) continue;
    if (parent.portName !== null && parent.portName !== at.portName) continue;
    if (parent.port === null && parent.portName === null && at.isOther) continue;
    return true;
  }
  return false;
}

function holds({ path, method, headers, query }: HttpMatch, request: AskedRequest): boolean {
  if (path.kind === "exact" && path.value !== request.path) return false;
  if (path.kind === "expression" && !oracleTakes(path.value, request.path)) return false;
  if (path.kind === "prefix") {
    // By elements: /abc takes /abc, /abc/ and /abc/def, and not /abcd.
    const wanted = path.value.split("/").slice(1);
    const had = request.path.split("/").slice(1);
    if (wanted.some((element, index) => had[index] !== element)) return false;
  }
  if (method !== null && method !== request.method) return false;
  for (const header of headers) {
    const values = request.headers.filter(([name]) => name === header.name).map(([, value]) => value);
    if (values.length === 0 || !isWanted(header, values.join(","))) return false;
  }
  return query.every((wanted) => {
    const [, value] = request.query.find(([had]) => had === wanted.name) ?? [];
    return value !== undefined && isWanted(wanted, value);
  });
}

const isWanted = ({ kind, value: wanted }: ValueCondition, value: string): boolean =>
  kind === "exact" ? value === wanted : oracleTakes(wanted, value);

/** The expressions of random-routes.ts mean the same to JavaScript. */
const oracleTakes = (expression: string, text: string): boolean => new RegExp(`^(?:${expression})$`).test(text);

const kinds = ["exact", "expression", "prefix"];

/** Lower comes first. */
function rankOf({ path, method, headers, query }: HttpMatch): readonly number[] {
  const characters = path.kind === "exact" ? 0 : path.value.length;
  return [kinds.indexOf(path.kind), -characters, method === null ? 1 : 0, -headers.length, -query.length];
}

function comesBefore(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0;
    if (value !== other) return value < other;
  }
  return false;
}
