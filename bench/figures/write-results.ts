// bench · bench/results/: JSON, a Markdown table and one chart per unit of the run's rows.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chartText, tableText } from "./report.ts";
import type { Results } from "./results.ts";

const folder = fileURLToPath(new URL("../results/", import.meta.url));

/** Returns the files it wrote. */
export function writeResults(results: Results): string[] {
  mkdirSync(folder, { recursive: true });
  const stamp = results.terms.date.replace(/[:.]/g, "-");
  const files: string[] = [];
  const write = (name: string, text: string): void => {
    const file = path.join(folder, name);
    writeFileSync(file, text);
    files.push(file);
  };
  for (const name of [stamp, "latest"]) {
    write(`${name}.json`, `${JSON.stringify(results, null, 2)}\n`);
    write(`${name}.md`, tableText(results));
  }
  const charts = {
    throughput: "Throughput, Orlop against the peer",
    requests: "Requests and connections, Orlop against the peer",
    cost: "CPU and memory, Orlop against the peer",
    latency: "Latency, Orlop against the peer",
  } as const;
  for (const [name, title] of Object.entries(charts)) {
    const rows = results.rows.filter(({ unit, figure }) => chartOf(unit, figure) === name);
    if (rows.length > 0) write(`${name}.svg`, chartText(title, rows));
  }
  return files;
}

function chartOf(unit: string, figure: string): "throughput" | "requests" | "cost" | "latency" {
  if (unit === "Gb/s") return "throughput";
  if (unit === "1/s") return "requests";
  return /CPU|memory/.test(figure) ? "cost" : "latency";
}
