// any thread · lists of rules by the headers that a request must show for them. Pure.
import type { RequestFacts } from "../mesh/facts.ts";
import { joinedValues } from "./joined-values.ts";
import { headerKey, headerNameIn, headerPartKey } from "./request-keys.ts";

type ByHeaderKey<L> = ReadonlyMap<string, L>;

/** What of one header is looked up: its whole values, and beginnings and ends of these lengths. */
type HeaderLook = {
  readonly name: string;
  readonly isWhole: boolean;
  readonly begins: readonly number[];
  readonly ends: readonly number[];
};

export class HeaderLists<L> {
  readonly #whole: ByHeaderKey<L>;
  readonly #begin: ByHeaderKey<L>;
  readonly #end: ByHeaderKey<L>;
  readonly #looks: readonly HeaderLook[];

  /** By keys of request-keys.ts. */
  constructor({
    whole,
    begin,
    end,
  }: { readonly whole: ByHeaderKey<L>; readonly begin: ByHeaderKey<L>; readonly end: ByHeaderKey<L> }) {
    this.#whole = whole;
    this.#begin = begin;
    this.#end = end;
    const [wholes, begins, ends] = [partLengths(whole), partLengths(begin), partLengths(end)];
    this.#looks = [...new Set([...wholes.keys(), ...begins.keys(), ...ends.keys()])].map((name) => ({
      name,
      isWhole: wholes.has(name),
      begins: [...(begins.get(name) ?? [])],
      ends: [...(ends.get(name) ?? [])],
    }));
  }

  /**
   * Calls `take` with each list that a value of the request leads to, or all values of a field joined, perhaps several times with the
   * same list: what a condition on a header compares (`headerCheck`).
   */
  each(header: RequestFacts["header"], take: (list: L) => void): void {
    for (const look of this.#looks) {
      const alike = header(look.name, "alike");
      for (const value of alike) this.#about(look, value, take);
      if (alike.length < 2) continue;
      this.#about(look, joinedValues(alike), take);
      const sent = header(look.name);
      if (sent.length > 1 && sent.length < alike.length) this.#about(look, joinedValues(sent), take);
    }
  }

  #about({ name, isWhole, begins, ends }: HeaderLook, value: string, take: (list: L) => void): void {
    const give = (list: L | undefined): void => {
      if (list !== undefined) take(list);
    };
    if (isWhole) give(this.#whole.get(headerKey(name, value)));
    for (const length of begins) give(this.#begin.get(headerPartKey(name, value.slice(0, length))));
    for (const length of ends) give(this.#end.get(headerPartKey(name, value.slice(-length))));
  }
}

/** By the header's name, the lengths of what its keys say of values. */
function partLengths(keys: ReadonlyMap<string, unknown>): ReadonlyMap<string, ReadonlySet<number>> {
  const lengths = new Map<string, Set<number>>();
  for (const key of keys.keys()) {
    const name = headerNameIn(key);
    const known = lengths.get(name) ?? new Set<number>();
    known.add(key.length - name.length - 1);
    lengths.set(name, known);
  }
  return lengths;
}
