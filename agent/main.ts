#!/usr/bin/env node
// start-up · the programs under the name `orlop`. Each is imported only when it is asked for, so that no program loads
// code that another needs a privilege for.
import { fileURLToPath } from "node:url";
import type { Config } from "./config/config.ts";
import { type CommandLine, type ProgramName, permissionText, readCommandLine } from "./process/command-line.ts";

const [command = "", ...rest] = process.argv.slice(2);

/** Exits with the help that was asked for, or with 64 on bad usage, as the CLI does. */
function commandLine(name: ProgramName): CommandLine {
  const line = readCommandLine(name, rest);
  if (!("exit" in line)) return line;
  (line.exit === 0 ? process.stdout : process.stderr).write(line.text);
  process.exit(line.exit);
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
      const { config } = commandLine("run");
      const { run } = await import("./process/run.ts");
      return run({ config, main: fileURLToPath(import.meta.url) });
    }
    case "keeper": {
      const { config: file, flags } = commandLine("keeper");
      const { keeper: config } = await configuration(file);
      const { keeperFirstActs } = await import("./process/first-acts.ts");
      const handover = keeperFirstActs(config);
      const { runKeeperProgram } = await import("./keeper/keeper-program.ts");
      const { keeperLives, keepOnly } = await import("./process/privileges.ts");
      keepOnly(keeperLives);
      return runKeeperProgram(config, { removeOnExit: flags.has("remove-on-exit"), handover });
    }
    case "agent": {
      const { agent: config } = await configuration(commandLine("agent").config);
      const { agentFirstActs } = await import("./process/first-acts.ts");
      const handover = agentFirstActs(config);
      const { runAgent } = await import("./node/agent.ts");
      return runAgent(config, handover);
    }
    case "cni": {
      const { cni: config } = await configuration(commandLine("cni").config);
      const { installerFirstActs } = await import("./process/first-acts.ts");
      installerFirstActs();
      const { runInstaller } = await import("./cni/installer.ts");
      return runInstaller(config);
    }
    case "control": {
      const { config: file } = commandLine("control");
      const { controlFirstActs } = await import("./process/first-acts.ts");
      controlFirstActs();
      const { readControlConfiguration } = await import("./authority/configuration.ts");
      const { runControl } = await import("./authority/control.ts");
      return runControl(readControlConfiguration(file));
    }
    case "uninstall": {
      const { config: file, flags } = commandLine("uninstall");
      const options = { state: flags.has("state"), force: flags.has("force"), dryRun: flags.has("dry-run") };
      const { loadConfig } = await import("./config/load.ts");
      const { keeper, agent } = loadConfig(file);
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

/** Reports what is wrong with a file, or which permission is missing; `orlop run` starts the program again. */
async function failed(error: unknown): Promise<number> {
  const refused = permissionText(command, error);
  if (refused !== undefined) {
    process.stderr.write(refused);
    return 77;
  }
  const { ConfigError, problemText } = await import("./control/kinds/value.ts");
  if (!(error instanceof ConfigError)) throw error;
  for (const problem of error.problems) process.stderr.write(`${problemText(problem)}\n`);
  return 65;
}

process.exitCode = await start().catch(failed);
