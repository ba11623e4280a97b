// 20 · any thread · the routes of one port, for one caller's namespace, as a single ordered list: a request → the rule that takes it,
// found by path. The order is Gateway API's (HTTPRouteRule.matches); whatever else lists rules in another order can be found alike. Pure.
import { fullName, ruleName } from "../mesh/full-name.ts";
import type { HeadWords } from "../mesh/head-words.ts";
import type { HttpMatch, HttpRoute, HttpRule, ValueCondition } from "../mesh/http-rule.ts";
import { isTaken } from "./condition.ts";
import { RequestReader, type RoutedRequest } from "./request-reader.ts";

export type { RoutedRequest } from "./request-reader.ts";

/** A rule with a match of it. */
export type RouteEntry = {
  /** Its place in the order: of several entries that take a request the lowest counts. */
  readonly at: number;
  readonly match: HttpMatch;
  readonly rule: HttpRule;
  /** Of the rule in its route. */
  readonly index: number;
  readonly route: Pick<HttpRoute, "kind" | "namespace" | "name" | "from">;
  /** `<namespace>/<name>[<rule>]`: each request that it takes is recorded under it. */
  readonly name: string;
};

/** Why an entry does not take a request: the first condition that fails, in the order path, method, headers, query. */
export type RouteMiss = { readonly field: "path" | "method" | "header" | "query"; readonly name: string };

/**
 * Matches that are tried for a request, besides those whose path is another's. Each costs a microsecond or so, and each of its conditions
 * behind the first that is looked at as much again; and a thread has the requests of all pods of the node to plan: what one namespace's
 * routes cost must end. How long the texts are that they read counts, too (request-reader.ts).
 */
export const MOST_TRIED = 4_096;

export class RouteTable {
  /** In their order. */
  readonly entries: readonly RouteEntry[];
  readonly #exact = new Map<string, RouteEntry[]>();
  readonly #prefix = new Map<string, RouteEntry[]>();
  /** Each is tried: their texts say nothing about which paths they take. */
  readonly #expressions: RouteEntry[] = [];
  /** Of the longest prefix: a longer beginning of a path is nobody's prefix. */
  readonly #mostSegments: number;
  /** Of the request that is looked up: matches, and their conditions behind the first. */
  #tried = 0;
  readonly #reader = new RequestReader();
  /** Method and target say which rule takes a request: no match reads other fields. */
  readonly #needsWordsAlone: boolean;
  /** Then what was found for words that come again and again. */
  readonly #found = new WeakMap<HeadWords, RouteEntry | "too-many">();

  constructor(routes: readonly HttpRoute[]) {
    this.entries = inOrder(routes);
    let most = 0;
    for (const entry of this.entries) {
      const { kind, value } = entry.match.path;
      if (kind === "expression") {
        this.#expressions.push(entry);
        continue;
      }
      const under = kind === "exact" ? this.#exact : this.#prefix;
      const known = under.get(value);
      if (known === undefined) under.set(value, [entry]);
      else known.push(entry);
      if (kind === "prefix") most = Math.max(most, segmentsOf(value));
    }
    this.#mostSegments = most;
    this.#needsWordsAlone = this.entries.every(({ match }) => match.headers.length === 0);
  }

  /** undefined: no rule takes it. "too-many": it was not found with what may be tried and read for it. */
  find(request: RoutedRequest): RouteEntry | "too-many" | undefined {
    const { words } = request;
    const isOfWords =
      words?.isRepeated === true &&
      words.target === request.target &&
      words.path === request.path &&
      words.method === request.method;
    if (!isOfWords || !this.#needsWordsAlone) return this.#lookUp(request);
    const known = this.#found.get(words);
    if (known !== undefined) return known;
    const found = this.#lookUp(request);
    if (found !== undefined) this.#found.set(words, found);
    return found;
  }

  #lookUp(request: RoutedRequest): RouteEntry | "too-many" | undefined {
    this.#tried = 0;
    this.#reader.begin(request);
    try {
      const found = this.#find();
      return this.#isOver ? "too-many" : found;
    } finally {
      this.#reader.end();
    }
  }

  get #isOver(): boolean {
    return this.#tried > MOST_TRIED || this.#reader.isOver;
  }

  #find(): RouteEntry | undefined {
    const { path } = this.#reader;
    let best = this.#exact.size === 0 ? undefined : this.#firstThatHolds(this.#exact.get(path), undefined);
    if (this.#expressions.length > 0) best = this.#firstThatHolds(this.#expressions, best);
    if (this.#prefix.size === 0) return best;
    best = this.#firstThatHolds(this.#prefix.get(""), best);
    if (!path.startsWith("/")) return best;
    // Each beginning that ends before a slash, and the whole.
    let segments = 0;
    for (let at = 0; segments < this.#mostSegments && at < path.length; segments += 1) {
      const slash = path.indexOf("/", at + 1);
      const end = slash < 0 ? path.length : slash;
      best = this.#firstThatHolds(this.#prefix.get(path.slice(0, end)), best);
      at = end;
    }
    return best;
  }

  /** The first entry of a list that takes the request, unless `best` comes before it. */
  #firstThatHolds(entries: readonly RouteEntry[] | undefined, best: RouteEntry | undefined): RouteEntry | undefined {
    if (entries === undefined) return best;
    const reader = this.#reader;
    for (const entry of entries) {
      if (best !== undefined && best.at < entry.at) return best;
      this.#tried += 1;
      if (this.#isOver) return undefined;
      const { path } = entry.match;
      if (path.kind === "expression" && !takes(path, reader.path, reader)) continue;
      const miss = missBeyondPath(entry.match, reader);
      this.#tried += Math.max(0, conditionsLookedAt(entry.match, miss) - 1);
      if (miss === null) return entry;
    }
    return best;
  }
}

/** Up to the first that fails. */
function conditionsLookedAt({ headers, query }: HttpMatch, miss: RouteMiss | null): number {
  switch (miss?.field) {
    case undefined:
      return headers.length + query.length;
    case "header":
      return 1 + headers.findIndex(({ name }) => name === miss.name);
    case "query":
      return headers.length + 1 + query.findIndex(({ name }) => name === miss.name);
    default:
      return 0;
  }
}

/** null: the match takes the request. */
export function missOf(match: HttpMatch, request: RoutedRequest): RouteMiss | null {
  if (!isPathTaken(match.path, request.path.text)) return { field: "path", name: "" };
  const reader = new RequestReader();
  reader.begin(request);
  return missBeyondPath(match, reader);
}

function isPathTaken(condition: HttpMatch["path"], path: string): boolean {
  const { kind, value } = condition;
  if (kind === "expression") return isTaken(condition, path);
  if (kind === "exact") return path === value;
  return value === "" || (path.startsWith(value) && (path.length === value.length || path[value.length] === "/"));
}

/** An expression over a text. */
function takes(condition: Pick<ValueCondition, "value">, text: string, reader: RequestReader): boolean {
  reader.goesThrough(text);
  return isTaken(condition, text);
}

const isValueTaken = (condition: ValueCondition, value: string, reader: RequestReader): boolean =>
  condition.kind === "exact" ? value === condition.value : takes(condition, value, reader);

function missBeyondPath({ method, headers, query }: HttpMatch, reader: RequestReader): RouteMiss | null {
  if (method !== null && method !== reader.method) return { field: "method", name: "" };
  for (const condition of headers) {
    const sent = reader.field(condition.name);
    if (sent === undefined || !isValueTaken(condition, sent, reader)) return { field: "header", name: condition.name };
  }
  for (const condition of query) {
    const sent = reader.parameter(condition.name);
    if (sent === undefined || !isValueTaken(condition, sent, reader)) return { field: "query", name: condition.name };
  }
  return null;
}

/**
 * Gateway API's order. Of GRPCRoutes: that of their matches (agent/control/kinds/grpc-route.ts). Of HTTPRoutes: an exact path, the longest prefix, a method, more headers, more of the query; then the oldest route, the first by
 * name, and the rule that its route has first. Where expressions come it leaves open: behind exact paths, the longest text first, so that
 * a route for the rest (the prefix /) does not hide them.
 */
function inOrder(routes: readonly HttpRoute[]): readonly RouteEntry[] {
  const entries = routes.flatMap((route) =>
    route.rules.flatMap((rule, index) => rule.matches.map((match) => ({ match, rule, index, route }))),
  );
  // Stable, so that a rule's matches keep their order.
  const sorted = entries.sort(
    (a, b) =>
      precedence(a.match, b.match) ||
      a.route.createdMs - b.route.createdMs ||
      compareText(fullName(a.route), fullName(b.route)) ||
      a.index - b.index,
  );
  return sorted.map((entry, at) => ({ at, ...entry, name: ruleName({ ...entry.route, rule: entry.index }) }));
}

const order: Readonly<Record<HttpMatch["path"]["kind"], number>> = { exact: 0, expression: 1, prefix: 2 };

function precedence(a: HttpMatch, b: HttpMatch): number {
  if (a.rank !== undefined && b.rank !== undefined) {
    for (const [at, of] of a.rank.entries()) {
      const less = (b.rank[at] ?? 0) - of;
      if (less !== 0) return less;
    }
    return 0;
  }
  return (
    order[a.path.kind] - order[b.path.kind] ||
    (a.path.kind === "exact" ? 0 : b.path.value.length - a.path.value.length) ||
    Number(b.method !== null) - Number(a.method !== null) ||
    b.headers.length - a.headers.length ||
    b.query.length - a.query.length
  );
}

/** By code unit: the same order on every node. */
const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Slashes in a prefix, of which each begins a segment. */
function segmentsOf(prefix: string): number {
  let count = 0;
  for (let at = prefix.indexOf("/"); at >= 0; at = prefix.indexOf("/", at + 1)) count += 1;
  return count;
}
