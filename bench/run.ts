#!/usr/bin/env node
// bench · `make bench` and `orlop-bench`: chosen rows are measured one after the other; a row that cannot be measured fails the run.
import { readFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { readResults, regressions } from "./figures/compare.ts";
import { type FigurePairs, measurePairs, rowOf } from "./figures/pairs.ts";
import { tableText } from "./figures/report.ts";
import type { Failure, Results, Row } from "./figures/results.ts";
import { writeResults } from "./figures/write-results.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { type PlannedRow, plan } from "./plan.ts";
import { scenarios } from "./scenarios/all.ts";
import { type Scenario, type Settings, UsageError } from "./scenarios/scenario.ts";
import { createWorld, type World } from "./world/world.ts";

/** One row must be there in less than 50 seconds, the end of its programs included. */
const ONE_ROW_MS = 42_000;
/** The whole plan takes ten minutes at most; rows that come late get fewer pairs. */
const WHOLE_PLAN_MS = 550_000;
const PAIRS = 5;
const WARMUP_SECONDS = 0.3;
const WINDOW_SECONDS = 0.8;

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  if (options.list) {
    for (const { name, figure, unit, defaultPeer } of scenarios) {
      process.stdout.write(`${name.padEnd(24)} ${figure} (${unit}), against ${defaultPeer}\n`);
    }
    return 0;
  }
  const chosen = options.only === undefined ? plan() : [oneRow(options.only, options.peer)];
  const before =
    options.compare === undefined ? undefined : readResults(readFileSync(options.compare, "utf8"), options.compare);
  const world = createWorld();
  let results: Results;
  try {
    results = await measureAll(world, chosen, options);
  } finally {
    await world.close();
  }
  return report(results, before, options);
}

function oneRow(name: string, peer: string | undefined): PlannedRow {
  const scenario = scenarios.find((scenario) => scenario.name === name);
  if (scenario === undefined) {
    throw new UsageError(`no scenario "${name}"; there are: ${scenarios.map((scenario) => scenario.name).join(" ")}`);
  }
  return { scenario, peer: peer ?? scenario.defaultPeer };
}

async function measureAll(world: World, chosen: readonly PlannedRow[], options: Options): Promise<Results> {
  const settings: Settings = {
    windowSeconds: options.seconds ?? WINDOW_SECONDS,
    warmupSeconds: WARMUP_SECONDS,
    seed: options.seed,
  };
  const end = performance.now() + (options.only === undefined ? WHOLE_PLAN_MS : ONE_ROW_MS);
  const measured = new Map<string, Promise<FigurePairs>>();
  const versions: Record<string, string> = { "congestion control": world.congestionControl };
  const rows: Row[] = [];
  const failures: Failure[] = [];
  const waiting = new Set(chosen.map(seriesOf));
  for (const series of chosen) {
    const { scenario, peer } = series;
    const key = seriesOf(series);
    const now = performance.now();
    // Rows take unequal time, most of them less than their share.
    const deadline = now + Math.min(end - now, (2 * (end - now)) / Math.max(1, waiting.size));
    waiting.delete(key);
    const pairs = measured.get(key) ?? measureSeries(world, scenario, { peer, settings, options, deadline, versions });
    measured.set(key, pairs);
    try {
      const { name, figure, unit, better, targets, limits } = scenario;
      const target = targets[peer];
      const about = {
        scenario: name,
        figure,
        unit,
        peerName: peer,
        better,
        ...(target && { target }),
        ...(limits && { limits }),
      };
      const all = await pairs;
      const row = rowOf(scenario.addsUp ? all.slice(-1) : all, scenario.key, about);
      rows.push(row);
      if (!options.json)
        tell(`${name} · ${peer}: ${row.ours} against ${row.peer} ${unit}, ${row.ratio}× (${row.min}–${row.max})`);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      const failed = error instanceof Error ? error.message : String(error);
      failures.push({ scenario: scenario.name, peerName: peer, failed });
      process.stderr.write(`${scenario.name} · ${peer}: not measured: ${failed}\n`);
    }
  }
  return { terms: { ...terms(settings), versions }, rows, failures };
}

/** Rows of one series against one peer are read from the same measurements. */
const seriesOf = ({ scenario, peer }: PlannedRow): string => `${scenario.series} ${peer}`;

type SeriesOptions = {
  readonly peer: string;
  readonly settings: Settings;
  readonly options: Options;
  readonly deadline: number;
  /** Filled in. */
  readonly versions: Record<string, string>;
};

async function measureSeries(world: World, scenario: Scenario, given: SeriesOptions): Promise<FigurePairs> {
  const { peer, settings, options, deadline, versions } = given;
  const contest = await scenario.open(world, peer, settings);
  try {
    Object.assign(versions, contest.versions);
    return await measurePairs(contest.ours, contest.peer, {
      pairs: options.pairs ?? scenario.pairs ?? PAIRS,
      seed: settings.seed,
      deadline: scenario.pairs === undefined ? deadline : Number.POSITIVE_INFINITY,
    });
  } finally {
    await contest.close();
  }
}

function terms({ seed, windowSeconds, warmupSeconds }: Settings): Omit<Results["terms"], "versions"> {
  const processors = cpus();
  const cpu = processors[0]?.model.trim() ?? "unknown";
  return {
    date: new Date().toISOString(),
    seed,
    windowSeconds,
    warmupSeconds,
    kernel: release(),
    cpu,
    cores: processors.length,
  };
}

/** Exit status: 1 when a row failed or got worse. */
function report(results: Results, before: Results | undefined, options: Options): number {
  const { rows, failures, terms: under } = results;
  if (options.only === undefined) {
    const files = writeResults(results);
    if (options.json) process.stdout.write(`${JSON.stringify(results)}\n`);
    else tell(`\n${tableText(results)}\n${files.join("\n")}`);
  } else if (rows[0] !== undefined) {
    const { scenario, figure, unit, ours, peer, peerName, ratio, min, max, pairs, ...more } = rows[0];
    const row = { ...{ scenario, figure, unit, ours, peer, peerName, ratio, min, max, pairs }, ...more, terms: under };
    process.stdout.write(options.json ? `${JSON.stringify(row)}\n` : `\n${tableText(results)}`);
  }
  const worse = before === undefined ? [] : regressions(before, results);
  for (const { scenario, peerName, text } of worse) {
    process.stderr.write(`worse: ${scenario} · ${peerName}: ${text}\n`);
  }
  return failures.length + worse.length > 0 ? 1 : 0;
}

function tell(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  process.exitCode = await main();
} catch (error) {
  const asked = error instanceof UsageError;
  process.stderr.write(`orlop-bench: ${error instanceof Error ? error.message : error}\n${asked ? usage : ""}`);
  process.exitCode = asked ? 64 : 1;
}
