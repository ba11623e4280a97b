// main thread · counts under one label whose values others choose, peers among them: beyond the bound they count as "other".
import type { Sample } from "./metric.ts";

const MAX_VALUES = 64;
const MAX_VALUE_LENGTH = 128;
const other = "other";

export class LabelledCounts<Label extends string> {
  readonly #label: Label;
  readonly #counts = new Map<string, number>();

  constructor(label: Label) {
    this.#label = label;
  }

  add(value: string, count = 1): void {
    const short = value.slice(0, MAX_VALUE_LENGTH);
    const key = this.#counts.has(short) || this.#counts.size < MAX_VALUES ? short : other;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  samples(): readonly Sample<{
    name: string;
    type: "counter";
    unit: string;
    labels: readonly Label[];
    help: string;
  }>[] {
    return [...this.#counts].map(([value, count]) => ({
      labels: { [this.#label]: value } as Record<Label, string>,
      value: count,
    }));
  }
}
