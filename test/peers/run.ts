// test peers · runs the judges: builds what they need, runs their cases, prints the time of each part, writes JUnit.
//   node test/peers/run.ts [--soak] [--missing] [PART…]
// Ends with 0: what could run here passed, and the last lines name what could not and why; 1: a case or a build failed;
// 2: nothing could run here.
import { createWriteStream, mkdirSync } from "node:fs";
import path from "node:path";
import { finished } from "node:stream/promises";
import { junit, spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Part, parts } from "./parts.ts";
import { installDebian } from "./support/debian.ts";
import { built, cached, toolOf, Unavailable } from "./support/projects.ts";
import { runFile } from "./support/run-file.ts";
import { soak } from "./support/soak.ts";
import { missingTools, toolNames } from "./support/tools.ts";

const results = fileURLToPath(new URL("../../build/interop", import.meta.url));
/** Of one part, in milliseconds. A part that hangs must not eat the time of the others. */
const partDeadlineMs = (): number => soak(900_000, 3_600_000);
/** Behind that a cluster is taken down. */
const TO_END_MS = 120_000;

type Outcome = { readonly part: string; readonly seconds: number; readonly passed: number; readonly failed: number };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { soak: { type: "boolean", default: false }, missing: { type: "boolean", default: false } },
});

if (values.missing) {
  // For .ci/run: one line for each toolchain that is not here; status 2 when there is any.
  const missing = missingTools(toolNames);
  for (const line of missing) console.log(line);
  process.exit(missing.length > 0 ? 2 : 0);
}

const unknown = positionals.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(", ")}; there are ${parts.map(({ name }) => name).join(", ")}`);
  process.exit(64);
}
if (process.getuid?.() !== 0) {
  console.error("make interop needs root: it makes namespaces and cgroups and loads eBPF");
  process.exit(1);
}
if (values.soak) process.env.ORLOP_SOAK = "1";

const outcomes: Outcome[] = [];
const notRun: string[] = [];
let failed = false;
for (const part of parts) {
  if (positionals.length > 0 && !positionals.includes(part.name)) continue;
  const start = performance.now();
  const unbuilt =
    part.builtByName && positionals.length === 0 && part.projects.find((name) => cached(name) === undefined);
  const why = unbuilt ? `${unbuilt} is not built: make interop PEERS=${part.name} builds it` : provide(part);
  if (why !== undefined) {
    notRun.push(`${part.name}: did not run: ${why}`);
    continue;
  }
  const { passed, failed: bad } = await judge(part);
  failed ||= bad > 0 || passed === 0;
  outcomes.push({ part: part.name, seconds: (performance.now() - start) / 1_000, passed, failed: bad });
}

console.log("");
for (const { part, seconds, passed, failed: bad } of outcomes) {
  console.log(
    `${part.padEnd(10)} ${String(passed).padStart(4)} passed ${String(bad).padStart(3)} failed ${seconds.toFixed(0).padStart(5)} s`,
  );
}
for (const line of notRun) console.log(line);
process.exitCode = failed ? 1 : outcomes.length === 0 ? 2 : 0;

/** Builds the part's projects, telling the time of each. Returns why it cannot run on this machine, if so. */
function provide(part: Part): string | undefined {
  if (part.given !== undefined && !process.env[part.given]) {
    return `set ${part.given} to the path of its binary; no registry has it`;
  }
  const attempt = (what: string, provideIt: () => void): string | undefined => {
    const start = performance.now();
    try {
      provideIt();
    } catch (error) {
      if (error instanceof Unavailable) return error.message;
      console.error(error instanceof Error ? error.message : error);
      failed = true;
      return `${what} was not built`;
    }
    console.log(`${what}: there after ${((performance.now() - start) / 1_000).toFixed(1)} s`);
    return undefined;
  };
  const { debian, projects } = part;
  const none = debian && attempt(`packages of ${part.name}`, () => installDebian(debian));
  if (none !== undefined) return none;
  for (const project of projects) {
    const none = attempt(`${project} (${toolOf(project)})`, () => void built(project, console.log));
    if (none !== undefined) return none;
  }
  return undefined;
}

async function judge(part: Part): Promise<{ passed: number; failed: number }> {
  const counts = { passed: 0, failed: 0 };
  // Before the file of the node, and read by every agent that the part's file starts (agent/config/load.ts).
  if (part.recordLayer === undefined) delete process.env.ORLOP_TLS_RECORD_LAYER;
  else process.env.ORLOP_TLS_RECORD_LAYER = part.recordLayer;
  const file = fileURLToPath(new URL(part.test, import.meta.url));
  mkdirSync(results, { recursive: true });
  const events = runFile(file, { deadlineMs: partDeadlineMs(), toEndMs: TO_END_MS });
  events.on("test:pass", ({ details }) => {
    if (details.type !== "suite") counts.passed += 1;
  });
  events.on("test:fail", () => {
    counts.failed += 1;
  });
  events.compose(new spec()).pipe(process.stdout, { end: false });
  const xml = events.compose(junit).pipe(createWriteStream(path.join(results, `${part.name}.xml`)));
  await finished(xml);
  return counts;
}
