// CLI · the table of commands: nouns read, verbs change. The only commander import; every command is a function of its
// own file and is loaded only when it is asked for.
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { quietJson } from "../mesh/terminal-text.ts";
import { helpOf, isProgram, programs, usageOf } from "../process/command-line.ts";
import { complete } from "./completion.ts";
import type { ExplainOptions } from "./explain.ts";
import { type Context, contextOf, type ReadOptions } from "./options.ts";
import { type CliEnv, CliFailure, type Exit, exits, failureText, formats } from "./output.ts";

export function processEnv(): CliEnv {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // A pipe that was closed (`orlop get … | head`) is no failure of ours, and nobody reads on.
    if (error.code === "EPIPE") process.exit(exits.ok);
    throw error;
  });
  return {
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    isTTY: process.stdout.isTTY === true,
    vars: process.env,
    now: Date.now,
  };
}

/** Runs one command line (without node and script). Resolves to the exit status; throws nothing a user could cause. */
export async function runCli(argv: readonly string[], env: CliEnv = processEnv()): Promise<number> {
  let exit: number = exits.ok;
  const program = commandTable(env, (value) => {
    exit = value;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return exit;
  } catch (error) {
    if (error instanceof CliFailure) {
      env.stderr(failureText(error));
      return error.exit;
    }
    // Help that was asked for ends with 0; help for want of a command is a usage error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exits.ok : exits.usage;
    throw error;
  }
}

type Done = (exit: number) => void;

function commandTable(env: CliEnv, done: Done): Command {
  const program = new Command("orlop")
    .description("The mesh below the pods: look at it, ask it why, change what it logs.")
    .exitOverride()
    .configureOutput({
      writeOut: env.stdout,
      writeErr: env.stderr,
    })
    .showSuggestionAfterError(true)
    .helpCommand("help [command]", "the same as COMMAND --help");
  lookCommands(program, env, done);
  whyCommands(program, env, done);
  plumbing(program, env, done);
  programsOfTheirOwn(program);
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)])
    explainUsage(command);
  return program;
}

/** main.ts starts these programs itself; the table lists them for the help alone. */
function programsOfTheirOwn(program: Command): void {
  for (const name of Object.keys(programs).filter(isProgram)) {
    const own = program
      .command(`${name} [args...]`, { hidden: false })
      .description(`${programs[name].what}: ${usageOf(name).slice(`orlop ${name} `.length)}`)
      .helpGroup("Programs:")
      .allowUnknownOption()
      .helpOption(false);
    own.helpInformation = () => helpOf(name);
    own.action(() => {
      throw usage(`${name} is a program of its own`, "main.ts starts it", `npx ${usageOf(name)}`);
    });
  }
}

/** What is wrong with a line, and where it is written how the command is used. */
function explainUsage(command: Command): void {
  const words: string[] = [];
  for (let each: Command | null = command; each !== null; each = each.parent) words.unshift(each.name());
  command.configureOutput({
    outputError: (text, write) => {
      const what = text
        .replace(/^error: /, "")
        .trim()
        .replaceAll(/\s*\n\s*/g, " ");
      const why = "the command line is not one that orlop reads";
      write(`orlop: ${what}  ORL6004\n  why: ${why}\n  do:  ${words.join(" ")} --help\n`);
    },
  });
}

/** Adds the flags of `kinds` and an action that gets its context. */
function reading(
  command: Command,
  env: CliEnv,
  done: Done,
  run: (context: Context, ...args: unknown[]) => Promise<Exit>,
): Command {
  return withReadOptions(command).action(async (...args: unknown[]) => {
    // commander ends the arguments with the options and the command.
    const context = contextOf(command.opts<ReadOptions>(), env);
    done(await run(context, ...args.slice(0, -2)));
  });
}

function withReadOptions(command: Command): Command {
  if (!command.options.some(({ long }) => long === "--file")) {
    command.addOption(new Option("-f, --file <dump.json>", "ask a file written by `orlop dump` instead"));
  }
  return command
    .addOption(new Option("-o, --output <format>", "how to show it").choices(formats).default("table"))
    .addOption(new Option("--socket <path>", "the agent's admin socket (or ORLOP_SOCKET)"))
    .addOption(new Option("--color <when>", "colour").choices(["auto", "always", "never"]).default("auto"))
    .addOption(new Option("--no-headers", "leave out the table's header"))
    .addOption(new Option("--timeout <ms>", "how long to wait for the agent").argParser(parseTimeout).default(10_000));
}

function withNamespace(command: Command): Command {
  return command
    .addOption(new Option("-n, --namespace <name>", "only this namespace"))
    .addOption(new Option("-A, --all-namespaces", "every namespace (the default)").conflicts("namespace"));
}

function lookCommands(program: Command, env: CliEnv, done: Done): void {
  const status = program.command("status").description("this node on one screen").helpGroup("Look:");
  reading(status, env, done, async (context) => (await import("./status.ts")).status(context));

  const get = program
    .command("get <what> [names...]")
    .description("list workloads, services, policies, routes, limits, ejected, certs, connections or bpf")
    .helpGroup("Look:")
    .addOption(new Option("-l, --selector <labels>", "workloads with these labels: app=web,tier!=db"));
  reading(withNamespace(get), env, done, async (context, what, names) =>
    (await import("./get.ts")).get(context, text(what), texts(names)),
  );

  const describe = program
    .command("describe <thing>")
    .description("one pod/NAME, svc/NAME or policy/NAME with what bears on it")
    .helpGroup("Look:");
  reading(withNamespace(describe), env, done, async (context, thing) =>
    (await import("./describe.ts")).describe(context, text(thing)),
  );

  const check = program
    .command("check")
    .description("can this node carry the mesh, and does it: every finding with its fix")
    .helpGroup("Look:")
    .addOption(new Option("--fail-on <severity>", "what exits 79").choices(["error", "warning"]).default("error"))
    .addOption(new Option("--pre", "only what must hold before the agent starts"))
    .addOption(new Option("--skip <codes...>", "codes that never fail"))
    .addOption(
      new Option("--in <process>", "whose container this is: the agent's has nothing of what the keeper needs")
        .choices(["auto", "keeper", "agent"])
        .default("auto"),
    )
    .addOption(new Option("--bpffs <path>", "where eBPF objects are pinned").default("/sys/fs/bpf"))
    .addOption(
      new Option(
        "--pods-cgroup <path>",
        "the cgroup above all pods, or auto (default: auto in a pod of Kubernetes, else where cgroup v2 is mounted)",
      ),
    );
  reading(check, env, done, async (context) => {
    const {
      failOn,
      pre = false,
      skip = [],
      in: process,
      bpffs,
      podsCgroup,
    } = check.opts<{
      failOn: "error" | "warning";
      pre?: boolean;
      skip?: string[];
      in: "auto" | "keeper" | "agent";
      bpffs: string;
      podsCgroup?: string;
    }>();
    const preflight = await import("../process/preflight.ts");
    const mounts = await import("../process/mounts.ts");
    const fallback = { bpffs, podsCgroup: "/sys/fs/cgroup", ports: [] };
    const mounted = mounts.cgroup2Mount(preflight.readNode(fallback).mountinfo) ?? fallback.podsCgroup;
    const looked = env.vars.KUBERNETES_SERVICE_HOST ? "auto" : mounted;
    const options = { failOn, pre, skip, in: process, bpffs, podsCgroup: podsCgroup ?? looked };
    return (await import("./check.ts")).check(context, options, (at) => preflight.judge(preflight.readNode(at)));
  });
}

function whyCommands(program: Command, env: CliEnv, done: Done): void {
  const explain = program
    .command("explain [src] [dst]")
    .description("would SRC reach DST:PORT, and which rule decides: shop/web shop/api:8080 (SRC may be node)")
    .helpGroup("Why:")
    .addOption(new Option("--expect <verdict>", "exit 79 unless it is this").choices(["allow", "deny"]));
  explain.addOption(new Option("-f, --file <mesh.yaml>", "judge this file, or a directory of them, without an agent"));
  explain
    .addOption(new Option("--method <method>", "what the rules say of a request, not of the connection alone"))
    .addOption(new Option("--path <path>", "of the request, with its query"))
    .addOption(new Option("--host <host>", "of the request; without it DST's name"))
    .addOption(new Option("--header <name=value...>", "of the request; may be repeated"));
  explain.addOption(
    new Option("--impact", "with -f, without SRC and DST: which open connections these files would end"),
  );
  reading(explain, env, done, async (context, src, dst) => {
    const { impact = false, ...options } = explain.opts<ExplainOptions & { impact?: boolean }>();
    if (impact) return (await import("./impact.ts")).impact(context);
    return (await import("./explain.ts")).explain(context, src, dst, options);
  });

  program
    .command("explain-code [code]")
    .description("what a code, a reason or a response flag means; without one, lists them")
    .helpGroup("Why:")
    .action(async (code: string | undefined) => done((await import("./explain-code.ts")).explainCode(env, code)));
}

function plumbing(program: Command, env: CliEnv, done: Done): void {
  const log = program.command("log").description("levels of the agent's log").helpGroup("Plumbing:");
  reading(log.command("get").description("every level"), env, done, async (context) =>
    (await import("./log.ts")).logGet(context),
  );
  const set = log
    .command("set <name=level...>")
    .description("set levels: policy=debug")
    .addOption(new Option("--for <time>", "revert after this: 90s, 10m, 1h"));
  reading(set, env, done, async (context, settings) =>
    (await import("./log.ts")).logSet(context, texts(settings), set.opts<{ for?: string }>().for),
  );

  const dump = program
    .command("dump")
    .description("all that the agent shows, as JSON; every reading command takes it with -f")
    .helpGroup("Plumbing:");
  reading(dump, env, done, async (context) => {
    context.print(`${quietJson(JSON.stringify(await context.client().dump()))}\n`);
    return exits.ok;
  });

  const version = program.command("version").description("client and agent").helpGroup("Plumbing:");
  reading(version, env, done, async (context) => (await import("./version.ts")).version(context));

  program
    .command("completion <shell>")
    .description("a completion script for bash, zsh or fish")
    .helpGroup("Plumbing:")
    .action(async (shell: string) => done((await import("./completion.ts")).completionScript(env, shell)));
  program
    .command("__complete [words...]", { hidden: true })
    .allowUnknownOption()
    .helpOption(false)
    .action(async (words: string[]) => {
      const commands = program.commands.filter((command) => !command.name().startsWith("__"));
      done(
        await complete(env, words, {
          commands: commands.map((command) => command.name()),
          flagsOf: (name) =>
            commands.find((command) => command.name() === name)?.options.map(({ long }) => long ?? "") ?? [],
          subcommandsOf: (name) =>
            commands.find((command) => command.name() === name)?.commands.map((command) => command.name()) ?? [],
        }),
      );
    });
}

function parseTimeout(value: string): number {
  const ms = Number(value);
  if (!Number.isInteger(ms) || ms < 1 || ms > 600_000)
    throw new InvalidArgumentError("it is a number of milliseconds, 1 to 600000");
  return ms;
}

/** commander gives a required argument as a string and a variadic one as strings. */
function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function usage(what: string, why: string, fix: string): CliFailure {
  return new CliFailure(exits.usage, { code: "ORL6004", what, why, fix });
}
