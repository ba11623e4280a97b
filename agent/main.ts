#!/usr/bin/env node
// start-up · the programs under the name `orlop`. Each is imported only when it is asked for, so that no program loads
// code that another needs a privilege for.
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Config } from "./config/config.ts";

const [command = "", ...rest] = process.argv.slice(2);

/** The options of `run`, `keeper`, `agent`, `cni` and `control`. Exits with 64 on bad usage, as the CLI does. */
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

/** The options of `uninstall`, likewise. */
function uninstallOptions() {
  const flag = { type: "boolean", default: false } as const;
  try {
    const { values } = parseArgs({
      args: rest,
      options: { config: { type: "string", short: "c" }, state: flag, force: flag, "dry-run": flag },
    });
    if (values.config === undefined) throw new Error("-c FILE is missing");
    return { config: values.config, state: values.state, force: values.force, dryRun: values["dry-run"] };
  } catch (error) {
    process.stderr.write(
      `orlop uninstall: ${error instanceof Error ? error.message : error}\n` +
        "  why: it takes away what the programs with this configuration have made\n" +
        "  do:  orlop uninstall -c orlop.yaml [--state] [--force] [--dry-run]\n",
    );
    process.exit(64);
  }
}

/** What keeper and agent begin with: the file, or while it is wrong what a program of this node read last. */
async function configuration(file: string): Promise<Config> {
  const { loadConfigOrLast } = await import("./config/load.ts");
  const { config, problems } = loadConfigOrLast(file, `${process.env.ORLOP_STATE_DIR ?? "/var/lib/orlop"}-keeper`);
  if (problems.length === 0) return config;
  const { problemText } = await import("./control/kinds/value.ts");
  for (const problem of problems) process.stderr.write(`${problemText(problem)}\n`);
  process.stderr.write(`orlop ${command}: ${file} is wrong; it begins with the settings that were read last\n`);
  return config;
}

async function start(): Promise<number> {
  switch (command) {
    case "run": {
      const { run } = await import("./process/run.ts");
      return run({ ...programOptions(), main: fileURLToPath(import.meta.url) });
    }
    case "keeper": {
      const options = programOptions();
      const { keeper: config } = await configuration(options.config);
      const { keeperFirstActs } = await import("./process/first-acts.ts");
      const handover = keeperFirstActs(config);
      const { runKeeperProgram } = await import("./keeper/keeper.ts");
      const { keeperLives, keepOnly } = await import("./process/privileges.ts");
      keepOnly(keeperLives);
      return runKeeperProgram(config, { ...options, handover });
    }
    case "agent": {
      const { agent: config } = await configuration(programOptions().config);
      const { agentFirstActs } = await import("./process/first-acts.ts");
      const handover = agentFirstActs(config);
      const { runAgent } = await import("./node/agent.ts");
      return runAgent(config, handover);
    }
    case "cni": {
      const { cni: config } = await configuration(programOptions().config);
      const { installerFirstActs } = await import("./process/first-acts.ts");
      installerFirstActs();
      const { runInstaller } = await import("./cni/installer.ts");
      return runInstaller(config);
    }
    case "control": {
      const { config: file } = programOptions();
      const { controlFirstActs } = await import("./process/first-acts.ts");
      controlFirstActs();
      const { readControlConfiguration } = await import("./authority/configuration.ts");
      const { runControl } = await import("./authority/control.ts");
      return runControl(readControlConfiguration(file));
    }
    case "uninstall": {
      const options = uninstallOptions();
      const { loadConfig } = await import("./config/load.ts");
      const { keeper, agent } = loadConfig(options.config);
      const { uninstall } = await import("./keeper/uninstall.ts");
      const target = {
        keeper,
        adminSocket: agent.admin.socket,
        runDirectory: agent.runDir,
        stateDirectory: agent.stateDir,
      };
      return uninstall(target, options, {
        out: (line) => void process.stdout.write(`${line}\n`),
        warn: (line) => void process.stderr.write(`${line}\n`),
        failed: (what, why, fix) =>
          void process.stderr.write(`orlop uninstall: ${what}\n  why: ${why}\n  do:  ${fix}\n`),
      });
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
