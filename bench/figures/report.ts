// bench · a run as a Markdown table and as SVG charts. Pure.
import { rangeText } from "./compare.ts";
import { limitText, met, type Results, type Row, targetText } from "./results.ts";

const cells = (values: readonly (string | number)[]): string => `| ${values.join(" | ")} |`;

export function tableText({ terms, rows, failures }: Results): string {
  const lines = [
    `${terms.date} · ${terms.cores} × ${terms.cpu} · Linux ${terms.kernel} · window ${terms.windowSeconds} s after ` +
      `${terms.warmupSeconds} s · seed ${terms.seed}`,
    "",
    Object.entries(terms.versions)
      .map(([name, version]) => `${name}: ${version}`)
      .join(" · "),
    "",
    cells(["scenario", "unit", "Orlop", "peer", "", "ratio (min–max)", "pairs", "target", ""]),
    cells(["---", "---", "---:", "---:", "---", "---:", "---:", "---", "---"]),
    ...rows.map((row) =>
      cells([
        row.scenario,
        // The arrow points to where it is better.
        `${row.unit} ${row.better === "more" ? "↑" : "↓"}`,
        row.ours,
        row.peer,
        row.peerName,
        rangeText(row),
        row.pairs,
        row.target === undefined ? "" : targetText(row.target),
        [
          ...(row.target === undefined ? [] : [met(row, row.target) ? "met" : "missed"]),
          ...(row.limits ?? []).map(limitText),
        ].join("; "),
      ]),
    ),
    ...failures.map(({ scenario, peerName, failed }) =>
      cells([scenario, "", "", "", peerName, "", "", "", `not measured: ${failed.split("\n")[0]}`]),
    ),
  ];
  return `${lines.join("\n")}\n`;
}

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => escapes[character] ?? "");

const LABEL = 260;
const BAR = 360;
const LINE = 26;

/** One bar per row on a logarithmic scale around 1: to the right Orlop is better. The whisker is min–max. */
export function chartText(title: string, rows: readonly Row[]): string {
  const gain = (row: Row, ratio: number): number => {
    const better = row.better === "more" ? ratio : 1 / ratio;
    return Math.log2(Math.min(64, Math.max(1 / 64, Number.isFinite(better) && better > 0 ? better : 64)));
  };
  const widest = Math.max(1, ...rows.flatMap((row) => [row.min, row.max].map((end) => Math.abs(gain(row, end)))));
  const x = (log: number): number => Math.round(LABEL + BAR / 2 + (log / widest) * (BAR / 2));
  const height = LINE * (rows.length + 2);
  const body = rows.map((row, index) => {
    const y = LINE * (index + 1.5);
    const [from, to] = [x(0), x(gain(row, row.ratio))];
    const [low, high] = [x(gain(row, row.min)), x(gain(row, row.max))];
    return [
      `<text x="${LABEL - 8}" y="${y + 14}" text-anchor="end">${escaped(`${row.scenario} · ${row.peerName}`)}</text>`,
      `<rect x="${Math.min(from, to)}" y="${y + 3}" width="${Math.abs(to - from)}" height="14" ` +
        `fill="${to >= from ? "#2a7f62" : "#b5482f"}"/>`,
      `<line x1="${low}" y1="${y + 10}" x2="${high}" y2="${y + 10}" stroke="#222"/>`,
      `<text x="${LABEL + BAR + 8}" y="${y + 14}">${row.ratio}×</text>`,
    ].join("\n");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LABEL + BAR + 90}" height="${height}" \
font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LABEL}" y="18" font-weight="bold">${escaped(title)}</text>
${body.join("\n")}
<line x1="${x(0)}" y1="${LINE}" x2="${x(0)}" y2="${height - 8}" stroke="#222" stroke-dasharray="3 3"/>
</svg>
`;
}
