// any thread · objects with a label selector, found by the labels they select. Asks only those that share a label.
import type { Labels } from "./names.ts";

/** Does every label of the selector stand among `labels`? null and {} select everything. */
export function selects(selector: Labels | null, labels: Labels): boolean {
  if (selector === null) return true;
  for (const name in selector) if (labels[name] !== selector[name]) return false;
  return true;
}

type Selected<T> = { readonly namespace: string; readonly selector: Labels | null; readonly value: T };
type SelectorEntry<T> = Selected<T> & { readonly anchor: string };
type Buckets<T> = Map<string, Map<string, SelectorEntry<T>>>;

/**
 * Each object lies under its namespace and one label of its selector (its anchor), or under no label when it selects all
 * of the namespace. A lookup costs the number of labels plus the objects that share an anchor with them, however many
 * others there are.
 */
export class SelectorIndex<T> {
  readonly #entries = new Map<string, SelectorEntry<T>>();
  /** namespace → anchor → object key → entry. */
  readonly #buckets = new Map<string, Buckets<T>>();

  get(key: string): T | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Adds or replaces the object of this key. */
  set(key: string, selected: Selected<T>): void {
    this.remove(key);
    const anchors: Buckets<T> = getOrAdd(this.#buckets, selected.namespace, () => new Map());
    const anchor = emptiest(anchors, selected.selector);
    const entry = { ...selected, anchor };
    this.#entries.set(key, entry);
    getOrAdd(anchors, anchor, () => new Map<string, SelectorEntry<T>>()).set(key, entry);
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    const anchors = this.#buckets.get(entry.namespace);
    const bucket = anchors?.get(entry.anchor);
    bucket?.delete(key);
    if (bucket?.size === 0) anchors?.delete(entry.anchor);
    if (anchors?.size === 0) this.#buckets.delete(entry.namespace);
  }

  /** Keys and values of the objects in `namespace` that select `labels`, in no order. */
  matching(namespace: string, labels: Labels): readonly (readonly [string, T])[] {
    const anchors = this.#buckets.get(namespace);
    if (anchors === undefined) return [];
    const found: (readonly [string, T])[] = [];
    const take = (bucket: ReadonlyMap<string, SelectorEntry<T>> | undefined): void => {
      if (bucket === undefined) return;
      for (const [key, entry] of bucket) if (selects(entry.selector, labels)) found.push([key, entry.value]);
    };
    take(anchors.get(EVERYTHING));
    for (const [name, value] of Object.entries(labels)) take(anchors.get(pair(name, value)));
    return found;
  }

  *values(): Iterable<T> {
    for (const { value } of this.#entries.values()) yield value;
  }
}

const EVERYTHING = "";

/** Any label of the selector would do; the label with the fewest others below it keeps every lookup short. */
function emptiest<T>(anchors: Buckets<T>, selector: Labels | null): string {
  let best = EVERYTHING;
  let least = Number.POSITIVE_INFINITY;
  for (const [name, value] of Object.entries(selector ?? {})) {
    const size = anchors.get(pair(name, value))?.size ?? 0;
    if (size < least) [best, least] = [pair(name, value), size];
  }
  return best;
}

/** No label name or value holds a line end, and no pair is empty. */
function pair(name: string, value: string): string {
  return `${name}\n${value}`;
}

/** The value of the key; `make` gives it when there is none yet. */
export function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
