// bench · instructions · from callgrind's dumps to counts per call, and two sets of them compared. Pure.

/** Instructions per call, by name. */
export type Counted = Readonly<Record<string, number>>;

/** More than this much of the baseline is a regression: an allocation more or less may move a collection of garbage. */
const LEAST_CHANGE = 0.02;

/**
 * `said`: a line `<name> <calls>` for each stretch. `dumps`: what was counted up to each mark, two marks for each stretch.
 * @throws when they do not fit.
 */
export function countsOf(said: string, dumps: readonly string[]): Counted {
  const stretches = said.trim().split("\n");
  if (dumps.length !== 2 * stretches.length) {
    throw new Error(`callgrind saw ${dumps.length} marks of ${2 * stretches.length}`);
  }
  return Object.fromEntries(
    stretches.map((line, at) => {
      const [name = "", calls = ""] = line.split(" ");
      const total = /^totals: (\d+)$/m.exec(dumps[2 * at + 1] ?? "")?.[1];
      const each = Math.round(Number(total) / Number(calls));
      if (!(each > 0)) throw new Error(`callgrind counted nothing of ${name}`);
      return [name, each];
    }),
  );
}

export function tableOf(counts: Counted, baseline: Counted): string {
  const lines = Object.entries(counts).map(([name, each]) => {
    const before = baseline[name];
    const change = before === undefined ? "" : `${((each / before - 1) * 100).toFixed(2)} %`;
    return `| ${name} | ${each} | ${before ?? ""} | ${change} |`;
  });
  return `${["| path | instructions per call | baseline | change |", "| --- | ---: | ---: | ---: |", ...lines].join("\n")}\n`;
}

/** What costs more than the baseline says, or is no longer counted. */
export function worse(counts: Counted, baseline: Counted): string[] {
  return Object.entries(baseline).flatMap(([name, before]) => {
    const now = counts[name];
    if (now === undefined) return [`${name}: counted before, not any more`];
    return now > before * (1 + LEAST_CHANGE) ? [`${name}: ${before} before, ${now} now`] : [];
  });
}
