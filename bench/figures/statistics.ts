// bench · medians, quantiles, and the ratio of two sides measured in pairs. Pure.

/** The value below which `quantile` of the values lie, by linear interpolation between neighbours. */
export function quantileOf(values: readonly number[], quantile: number): number {
  const sorted = [...values].sort((value, other) => value - other);
  const place = (sorted.length - 1) * quantile;
  const low = sorted[Math.floor(place)];
  const high = sorted[Math.ceil(place)];
  if (low === undefined || high === undefined) throw new RangeError("no values, so no quantile");
  return low + (high - low) * (place - Math.floor(place));
}

export const medianOf = (values: readonly number[]): number => quantileOf(values, 0.5);

/** One figure of both sides, taken one right after the other. */
export type Pair = { readonly ours: number; readonly peer: number };

export type Ratio = {
  /** Medians of each side. */
  readonly ours: number;
  readonly peer: number;
  /** Median, least and greatest of the ratios ours/peer within each pair; not the ratio of the medians. */
  readonly ratio: number;
  readonly min: number;
  readonly max: number;
  readonly pairs: number;
};

/** No pair is discarded. @throws when there is none, or when a ratio would mean nothing. */
export function ratioOf(pairs: readonly Pair[]): Ratio {
  const ratios = pairs.map(({ ours, peer }) => ours / peer);
  if (ratios.some((ratio) => !Number.isFinite(ratio))) throw new RangeError("a figure of the peer is zero or missing");
  return {
    ours: medianOf(pairs.map(({ ours }) => ours)),
    peer: medianOf(pairs.map(({ peer }) => peer)),
    ratio: medianOf(ratios),
    min: Math.min(...ratios),
    max: Math.max(...ratios),
    pairs: pairs.length,
  };
}

/** For tables and JSON: four significant digits. */
export const rounded = (value: number): number => Number(value.toPrecision(4));
