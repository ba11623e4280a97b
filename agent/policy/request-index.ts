// any thread · a list of rules by what a request must show for them: of a long list a request costs the few that can be about it. Pure.
import { decodedPath } from "../l7/canonical.ts";
import type { RequestFacts } from "../mesh/facts.ts";
import type { CompiledRule } from "./compile-rule.ts";
import { HeaderLists } from "./header-lists.ts";
import { eachBeginning, keyKinds, type RequestKeyKind, segmentsOf } from "./request-keys.ts";

/** A rule with its number in the list of all rules. */
export type IndexedRule<R> = { readonly at: number; readonly rule: R };
type Rules<R> = readonly IndexedRule<R>[];
type ByKey<R> = ReadonlyMap<string, Rules<R>>;

/** What a rule that names paths, or hosts, makes of an ambiguous text: a DENY takes it, an ALLOW does not. */
export type AmbiguousText = "matches" | "never";

export class RequestIndex<R extends CompiledRule> {
  /** Each rule under keys of a single kind, of which it has the fewest rules beside it. */
  readonly #by: Readonly<Record<"path" | "host" | "pathEnd" | "hostEnd", ByKey<R>>>;
  /** Rules without keys. */
  readonly #others: Rules<R>;
  /** Which numbers of segments, and which lengths of ends, keys have. */
  readonly #segments: ReadonlySet<number>;
  readonly #pathEnds: readonly number[];
  readonly #hostEnds: readonly number[];
  readonly #ambiguous: AmbiguousText;
  /** Rules with keys of the path, and of the host. */
  readonly #ofPath: Rules<R>;
  readonly #ofHost: Rules<R>;
  readonly #byHeaders: HeaderLists<Rules<R>>;

  constructor(rules: Rules<R>, ambiguous: AmbiguousText) {
    const crowds = crowdsOf(rules);
    const kinds = rules.map(({ rule }) => kindOf(rule, crowds));
    const of = (kind: RequestKeyKind): ByKey<R> =>
      byKey(rules, (entry, at) => (kinds[at] === kind ? entry.rule.keys[kind] : null));
    this.#ambiguous = ambiguous;
    this.#by = { path: of("path"), host: of("host"), pathEnd: of("pathEnd"), hostEnd: of("hostEnd") };
    this.#byHeaders = new HeaderLists({ whole: of("header"), begin: of("headerBegin"), end: of("headerEnd") });
    this.#others = rules.filter((_, at) => kinds[at] === null);
    const { path, pathEnd, hostEnd } = this.#by;
    this.#segments = new Set([...path.keys()].map(segmentsOf));
    this.#pathEnds = lengthsOf(pathEnd);
    this.#hostEnds = lengthsOf(hostEnd);
    this.#ofPath = rules.filter((_, at) => kinds[at] === "path" || kinds[at] === "pathEnd");
    this.#ofHost = rules.filter((_, at) => kinds[at] === "host" || kinds[at] === "hostEnd");
  }

  /** Adds lists in which every rule is that can hold for the request; each in the order of the rules, and a rule may be in several. */
  about({ path, host, header }: RequestFacts, lists: Rules<R>[]): void {
    if (this.#others.length > 0) lists.push(this.#others);
    if (this.#ofPath.length > 0) {
      if (path.ambiguity === null) for (const reading of path.readings) this.#aboutReading(reading, lists);
      else if (this.#ambiguous === "matches") lists.push(this.#ofPath);
    }
    if (this.#ofHost.length > 0) {
      if (host.ambiguity === null) for (const reading of host.readings) this.#aboutHost(reading, lists);
      else if (this.#ambiguous === "matches") lists.push(this.#ofHost);
    }
    this.#byHeaders.each(header, (rules) => add(rules, lists));
  }

  #aboutReading(path: string, lists: Rules<R>[]): void {
    this.#aboutPath(path, lists);
    if (path.includes("%")) this.#aboutPath(decodedPath(path), lists);
  }

  #aboutPath(path: string, lists: Rules<R>[]): void {
    const { path: byBeginning, pathEnd } = this.#by;
    if (this.#segments.size > 0) {
      eachBeginning(path, (beginning, segments) => {
        if (this.#segments.has(segments)) add(byBeginning.get(beginning), lists);
      });
    }
    for (const length of this.#pathEnds) add(pathEnd.get(path.slice(-length)), lists);
  }

  #aboutHost(name: string, lists: Rules<R>[]): void {
    const { host, hostEnd } = this.#by;
    add(host.get(name), lists);
    for (const length of this.#hostEnds) add(hostEnd.get(name.slice(-length)), lists);
  }
}

/** Readings of one text mostly lead to the same rules. */
function add<R>(rules: Rules<R> | undefined, lists: Rules<R>[]): void {
  if (rules !== undefined && !lists.includes(rules)) lists.push(rules);
}

/** By kind, how many rules each key has. */
type Crowds = Readonly<Record<RequestKeyKind, ReadonlyMap<string, number>>>;

function crowdsOf<R extends CompiledRule>(rules: Rules<R>): Crowds {
  const of = (kind: RequestKeyKind): ReadonlyMap<string, number> => {
    const counts = new Map<string, number>();
    for (const { rule } of rules) for (const key of rule.keys[kind] ?? []) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts;
  };
  return {
    ...{ path: of("path"), host: of("host"), pathEnd: of("pathEnd"), hostEnd: of("hostEnd") },
    ...{ header: of("header"), headerBegin: of("headerBegin"), headerEnd: of("headerEnd") },
  };
}

/** null: the rule has no keys. */
function kindOf({ keys }: CompiledRule, crowds: Crowds): RequestKeyKind | null {
  let best: RequestKeyKind | null = null;
  let fewest = Number.POSITIVE_INFINITY;
  for (const kind of keyKinds) {
    const crowd = Math.max(...(keys[kind] ?? []).map((key) => crowds[kind].get(key) ?? 0));
    if (keys[kind] === null || crowd >= fewest) continue;
    best = kind;
    fewest = crowd;
  }
  return best;
}

function byKey<R>(rules: Rules<R>, keysOf: (entry: IndexedRule<R>, at: number) => readonly string[] | null): ByKey<R> {
  const index = new Map<string, IndexedRule<R>[]>();
  for (const [at, entry] of rules.entries()) {
    for (const key of keysOf(entry, at) ?? []) {
      const known = index.get(key);
      if (known === undefined) index.set(key, [entry]);
      else known.push(entry);
    }
  }
  return index;
}

function lengthsOf(keys: ReadonlyMap<string, unknown>): readonly number[] {
  return [...new Set([...keys.keys()].map(({ length }) => length))];
}

/** Calls `holds` with the rules of all lists in their common order, until it says yes. */
export function firstOf<R extends CompiledRule>(
  lists: readonly Rules<R>[],
  holds: (rule: R) => boolean,
): R | undefined {
  const [only] = lists;
  if (lists.length === 1) return only?.find(({ rule }) => holds(rule))?.rule;
  const cursors = lists.map(() => 0);
  for (;;) {
    let next: IndexedRule<R> | undefined;
    let from = -1;
    for (let index = 0; index < lists.length; index += 1) {
      const entry = lists[index]?.[cursors[index] ?? 0];
      if (entry === undefined || (next !== undefined && next.at <= entry.at)) continue;
      next = entry;
      from = index;
    }
    if (next === undefined) return undefined;
    if (holds(next.rule)) return next.rule;
    cursors[from] = (cursors[from] ?? 0) + 1;
  }
}
