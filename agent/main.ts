#!/usr/bin/env node
// start-up · the three programs under the name `orlop`. Each is imported only when it is asked for, so that no program loads
// code that another needs a privilege for.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const [command = "", ...rest] = process.argv.slice(2);

/** The options of `run`, `keeper` and `agent`. Exits with 64 on bad usage, as the CLI does. */
function programOptions(): { readonly config: string; readonly removeOnExit: boolean } {
  try {
    const { values } = parseArgs({
      args: rest,
      options: { config: { type: "string", short: "c" }, "remove-on-exit": { type: "boolean", default: false } },
    });
    if (values.config === undefined) throw new Error("-c FILE is missing");
    return { config: values.config, removeOnExit: values["remove-on-exit"] };
  } catch (error) {
    process.stderr.write(
      `orlop ${command}: ${error instanceof Error ? error.message : error}\n` +
        `  why: it needs to know its node, its pods and its mesh\n  do:  orlop ${command} -c orlop.yaml\n`,
    );
    process.exit(64);
  }
}

async function start(): Promise<number> {
  switch (command) {
    case "run": {
      const { run } = await import("./process/run.ts");
      return run({ ...programOptions(), main: fileURLToPath(import.meta.url) });
    }
    case "keeper": {
      const options = programOptions();
      const { loadConfig } = await import("./config.ts");
      const config = loadConfig(options.config).keeper;
      const { keeperFirstActs } = await import("./process/first-acts.ts");
      keeperFirstActs(config);
      const { runKeeperProgram } = await import("./keeper/keeper.ts");
      const { keeperLives, keepOnly } = await import("./process/privileges.ts");
      keepOnly(keeperLives);
      return runKeeperProgram(config, options);
    }
    case "agent": {
      const options = programOptions();
      const { loadConfig } = await import("./config.ts");
      const config = loadConfig(options.config).agent;
      const { agentFirstActs } = await import("./process/first-acts.ts");
      const handover = agentFirstActs(config);
      const { runAgent } = await import("./node/agent.ts");
      return runAgent(config, handover);
    }
    default: {
      const { runCli } = await import("./cli/commands.ts");
      return runCli(process.argv.slice(2));
    }
  }
}

/** Reports what is wrong with a file; `orlop run` starts the program again. */
async function failed(error: unknown): Promise<number> {
  const { ConfigError, problemText } = await import("./control/kinds/value.ts");
  if (!(error instanceof ConfigError)) throw error;
  for (const problem of error.problems) process.stderr.write(`${problemText(problem)}\n`);
  return 65;
}

process.exitCode = await start().catch(failed);
