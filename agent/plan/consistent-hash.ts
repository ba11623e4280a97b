// 18 · any thread · requests of the same key go to the same endpoint, on every node and thread: ring hash and Maglev. Pure but for tables that are
// kept while the same endpoints are there.

import type { HashTable } from "../mesh/traffic-policy.ts";
import { type SipKey, sipHash } from "../policy/sip-hash.ts";
import type { Candidate } from "./endpoints.ts";

/** The same on all nodes, which have to agree: who calls may know to which endpoint a key leads. */
const KEY: SipKey = [0, 0, 0, 0];

/** 32 bits. */
export const hashOf = (text: string): number => Number(sipHash(KEY, Buffer.from(text)) & 0xffff_ffffn);

/** Places in their order, each an index of an endpoint; `at` of the ring is where each begins. */
type Places = { readonly endpoints: Uint32Array; readonly at: Uint32Array | null };

/** Tables that are kept at once, each of a list of endpoints; with more, all are dropped. */
const MOST_TABLES = 64;
const kept = new Map<string, Places>();
const byList = new WeakMap<readonly Candidate[], { readonly table: HashTable; readonly places: Places }>();

/**
 * The endpoint of the key among those that are eligible: where the key's own is not, the next in the table, so that no other key moves.
 * @param all every endpoint of the Service, eligible or not: the table is made of these
 */
export function endpointOfKey(
  all: readonly Candidate[],
  eligible: readonly Candidate[],
  table: HashTable,
  key: string,
): Candidate | undefined {
  if (eligible.length < 2) return eligible[0];
  const { endpoints, at } = placesOf(all, table);
  const hash = hashOf(key);
  const isEligible = new Set(eligible);
  const first = at === null ? hash % endpoints.length : firstAfter(at, hash);
  for (let step = 0; step < endpoints.length; step += 1) {
    const candidate = all[endpoints[(first + step) % endpoints.length] ?? 0];
    if (candidate !== undefined && isEligible.has(candidate)) return candidate;
  }
  return eligible[hash % eligible.length];
}

function placesOf(all: readonly Candidate[], table: HashTable): Places {
  const known = byList.get(all);
  if (known !== undefined && known.table === table) return known.places;
  const names = all.map(({ address, port, weight }) => `${address} ${port} ${weight}`);
  const key = `${table.kind} ${table.size} ${names.join(",")}`;
  const places = kept.get(key) ?? (table.kind === "maglev" ? maglev(all, table.size) : ring(all, table.size));
  if (!kept.has(key)) {
    if (kept.size >= MOST_TABLES) kept.clear();
    kept.set(key, places);
  }
  byList.set(all, { table, places });
  return places;
}

type Weighted = { readonly index: number; readonly name: string; readonly weight: number };

/** By name, so that every node has the same order. */
function weighted(all: readonly Candidate[]): readonly Weighted[] {
  return all
    .map(({ address, port, weight }, index) => ({ index, name: `${address} ${port}`, weight }))
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Each endpoint has places by its weight, `size` of them at least in all (Karger and others, "Consistent hashing and random trees", 1997). */
function ring(all: readonly Candidate[], size: number): Places {
  const endpoints = weighted(all);
  const total = endpoints.reduce((sum, { weight }) => sum + weight, 0);
  const least = Math.min(...endpoints.map(({ weight }) => weight));
  // The scale is a power of two, so that an endpoint that comes seldom changes the places of others. It gives the lightest endpoint a place, unless
  // the table would become too large.
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(size / total, 1 / least)));
  const scale = Math.min(wanted, (2 * MOST_PLACES) / total);
  const places = endpoints.flatMap(({ index, name, weight }) =>
    Array.from({ length: Math.max(1, Math.ceil(weight * scale)) }, (_, nth) => ({
      index,
      at: hashOf(`${name} ${nth}`),
    })),
  );
  places.sort((a, b) => a.at - b.at || a.index - b.index);
  return { endpoints: Uint32Array.from(places, ({ index }) => index), at: Uint32Array.from(places, ({ at }) => at) };
}
const MOST_PLACES = 65_536;

function firstAfter(at: Uint32Array, hash: number): number {
  let [low, high] = [0, at.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((at[middle] ?? 0) < hash) low = middle + 1;
    else high = middle;
  }
  return low === at.length ? 0 : low;
}

/**
 * Each endpoint takes the next place of its own permutation in its turn, and turns come by weight (Eisenbud and others, "Maglev: a fast and
 * reliable software network load balancer", 2016, section 3.4).
 * @param size a prime
 */
function maglev(all: readonly Candidate[], size: number): Places {
  const endpoints = new Uint32Array(size);
  const taken = new Uint8Array(size);
  const heaviest = Math.max(...all.map(({ weight }) => weight));
  const turns = weighted(all).map(({ index, name, weight }) => ({
    ...{ index, share: weight / heaviest, credit: 0, place: hashOf(`${name} offset`) % size },
    skip: 1 + (hashOf(`${name} skip`) % (size - 1)),
  }));
  for (let filled = 0; filled < size && turns.length > 0; )
    for (const turn of turns) {
      turn.credit += turn.share;
      if (turn.credit < 1) continue;
      turn.credit -= 1;
      while (taken[turn.place] === 1) turn.place = (turn.place + turn.skip) % size;
      taken[turn.place] = 1;
      endpoints[turn.place] = turn.index;
      filled += 1;
      if (filled === size) break;
    }
  return { endpoints, at: null };
}
