// main thread · how each kind of a cluster is doing, for operators: since when it cannot be read, and why. Pure but for its state.
import type { KindStatus } from "../source.ts";
import type { KindState } from "./kind-watch.ts";

type Noted = KindState & { readonly awaySince: string };

export class KindStates {
  readonly #noted: Map<string, Noted>;
  readonly #ports: { readonly wallMs: () => number; readonly log?: (message: string) => void };

  constructor(
    kinds: readonly string[],
    ports: { readonly wallMs: () => number; readonly log?: (message: string) => void },
  ) {
    this.#ports = ports;
    this.#noted = new Map(kinds.map((kind) => [kind, { state: "listing", why: "", awaySince: "" }]));
  }

  /** Some kind could not be read the last time, and has not been read since. */
  get isAnyAway(): boolean {
    return this.#noted.values().some(({ awaySince }) => awaySince !== "");
  }

  isAway(kind: string): boolean {
    return (this.#noted.get(kind)?.awaySince ?? "") !== "";
  }

  /** @param objects how many of a kind are known */
  view(objects: (kind: string) => number): readonly KindStatus[] {
    return [...this.#noted].map(([kind, { state, why, awaySince }]) => ({
      ...{ kind, objects: objects(kind), state, awaySince, why },
    }));
  }

  /** Whether this is news for an operator. */
  note(kind: string, { state, why }: KindState): boolean {
    const before = this.#noted.get(kind);
    // An attempt is no success: the kind is away, and why, until it is read.
    const goesOn = state === "listing" && before !== undefined && before.awaySince !== "";
    if (goesOn || (before?.state === state && before.why === why)) return false;
    const since = before?.awaySince ?? "";
    const now = new Date(this.#ports.wallMs()).toISOString();
    this.#noted.set(kind, { state, why, awaySince: state !== "away" ? "" : since === "" ? now : since });
    if (state === "away") this.#ports.log?.(`${kind}: ${why}; what was read before stays in force`);
    else if (since !== "") this.#ports.log?.(`${kind}: the API server answers again`);
    return true;
  }
}
