// demo · a mesh on this machine, its scenarios in turn, each checked by what was really seen.
import { release } from "node:os";
import { parseArgs } from "node:util";
import { cgroup2Mount } from "../test/box/host.ts";
import { tail } from "../test/box/process.ts";
import { type DemoBox, openDemo } from "./mesh/mesh-box.ts";
import { scenarios } from "./scenarios/scenarios.ts";
import { exits, type Terminal } from "./terminal.ts";

type DemoOptions = {
  /** Leave the mesh running after the scenarios, until Ctrl-C. */
  readonly keep: boolean;
  /** One line of JSON per scenario and one at the end, instead of text. */
  readonly json: boolean;
  /** Only scenarios whose name matches. */
  readonly scenario: RegExp;
};

type Result = { readonly name: string; readonly ok: boolean; readonly facts: string; readonly ms: number };

const usage = `make demo [--keep] [--json] [--scenario REGEXP]
  --keep      leave the mesh running after the scenarios, until Ctrl-C
  --json      one line of JSON per scenario
  --scenario  only those whose name matches
`;

/** `make demo ARGS`. Resolves to the exit status. */
export async function demo(args: readonly string[], env: Terminal): Promise<number> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        keep: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
        scenario: { type: "string", default: "" },
      },
    });
    if (values.help) {
      env.stdout(usage);
      return exits.ok;
    }
    return await runDemo({ keep: values.keep, json: values.json, scenario: new RegExp(values.scenario) }, env);
  } catch (error) {
    if (error instanceof SyntaxError || (error instanceof TypeError && "code" in error)) {
      env.stderr(`make demo: ${error.message}\n${usage}`);
      return exits.usage;
    }
    throw error;
  }
}

/** Exit status: 0 when every scenario went as expected, 1 otherwise, 64 when none matches. */
async function runDemo(options: DemoOptions, env: Terminal): Promise<number> {
  const say = (line: string, fields: object): void => env.stdout(`${options.json ? JSON.stringify(fields) : line}\n`);
  const chosen = scenarios.filter(({ name }) => options.scenario.test(name));
  if (chosen.length === 0) {
    env.stderr(`no scenario matches; there are:\n${scenarios.map(({ name }) => `  ${name}\n`).join("")}`);
    return exits.usage;
  }
  const started = performance.now();
  const elapsed = (): string => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const step = (text: string): void => say(`${text} · ${elapsed()}`, { step: text });
  step(`kernel ${release()} · cgroup2 ${cgroup2Mount()} · CA embedded (cluster.local)`);

  let box: DemoBox;
  try {
    box = await openDemo(step);
  } catch (error) {
    say(`FAIL the mesh did not start\n     ${messageOf(error)}`, { ok: false, error: messageOf(error) });
    return 1;
  }
  const results: Result[] = [];
  try {
    const width = Math.max(...chosen.map(({ name }) => name.length));
    for (const { name, run } of chosen) {
      const result = await attempt(name, () => run(box));
      results.push(result);
      say(`${result.ok ? "  ok" : "FAIL"}  ${name.padEnd(width)}  ${result.facts}`, result);
    }
    if (results.some(({ ok }) => !ok)) tellOutputs(box, env);
    if (options.keep) await keepOpen(box, step);
  } finally {
    await box.cluster.close();
  }
  const fine = results.filter(({ ok }) => ok).length;
  const last = { scenarios: results.length, asExpected: fine, seconds: Number(elapsed().slice(0, -2)) };
  say(`${fine} of ${results.length} scenarios as expected`, last);
  return fine === results.length ? 0 : 1;
}

async function attempt(name: string, run: () => Promise<string>): Promise<Result> {
  const start = performance.now();
  const took = (): number => Math.round(performance.now() - start);
  try {
    return { name, ok: true, facts: await run(), ms: took() };
  } catch (error) {
    return { name, ok: false, facts: messageOf(error), ms: took() };
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What keeper and agent themselves said: without it nobody could tell why a scenario failed. */
function tellOutputs(box: DemoBox, env: Terminal): void {
  for (const [node, program] of box.programs) {
    env.stderr(`--- orlop run on ${node}\n${tail(program.stdout, 3_000)}\n${tail(program.stderr, 3_000)}\n`);
  }
}

async function keepOpen(box: DemoBox, step: (text: string) => void): Promise<void> {
  step(`the mesh stays until Ctrl-C; its files: ${box.cluster.dir}`);
  for (const node of box.cluster.nodes) {
    step(`${node.name}: npx orlop status --socket ${node.runDir}/agent.sock`);
    for (const pod of node.pods) step(`  ${pod.name}: nsenter -t ${pod.place.pid} -n   (cgroup ${pod.place.cgroup})`);
  }
  // The cluster's own signal handlers clean up and end the process.
  await new Promise(() => {
    setInterval(() => {}, 60_000);
  });
}
