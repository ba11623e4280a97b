// start-up · the command lines of the programs that main.ts starts: what each takes, its help, and what is wrong with a line. Pure.
import { parseArgs } from "node:util";

type ProgramUsage = {
  readonly what: string;
  /** What a line without `-c` lacks. */
  readonly why: string;
  /** The name of the configuration in help and hints. */
  readonly file: string;
  /** Flags beside `-c` and `-h`, by name. */
  readonly flags: Readonly<Record<string, string>>;
};

const node = { why: "it needs to know its node, its pods and its mesh", file: "orlop.yaml", flags: {} } as const;

export const programs = {
  run: { ...node, what: "keeper and agent on this machine, as two processes; they run until SIGTERM or SIGINT" },
  keeper: {
    ...{ ...node, what: "the privileged half alone" },
    flags: { "remove-on-exit": "release every pod at SIGTERM and SIGINT" },
  },
  agent: { ...node, what: "the half without privilege alone" },
  cni: { ...node, what: "the installer of the CNI plug-in on a node of Kubernetes" },
  control: {
    ...{ what: "the certificate authority of a cluster", file: "control.yaml", flags: {} },
    why: "it needs to know whose certificates it may sign",
  },
  uninstall: {
    ...{ what: "take away what keeper and agent have put on this node", file: "orlop.yaml" },
    why: "it takes away what the programs with this configuration have made",
    flags: {
      "dry-run": "say what would go, and do nothing",
      state: "also remove what must outlive a reboot: last good configuration, the root's key",
      force: "remove the pins even while programs serve, or where no keeper can begin",
    },
  },
} as const satisfies Readonly<Record<string, ProgramUsage>>;

export type ProgramName = keyof typeof programs;

export type CommandLine = { readonly config: string; readonly flags: ReadonlySet<string> };

/** In place of starting a program: help that was asked for, or what is wrong. `exit` is the process's status. */
export type CommandLineAnswer = { readonly exit: 0 | 64; readonly text: string };

export const isProgram = (name: string): name is ProgramName => Object.hasOwn(programs, name);

export function helpOf(name: ProgramName): string {
  const { what, file, flags }: ProgramUsage = programs[name];
  const rows = [
    ["-c, --config <file>", "the configuration"],
    ...Object.entries(flags).map(([flag, does]) => [`--${flag}`, does]),
    ["-h, --help", "show this"],
  ] as const;
  const options = rows.map(([flag = "", does = ""]) => `  ${flag.padEnd(20)}  ${does}\n`).join("");
  return `Usage: ${usageOf(name)}\n\n${what}\n\nOptions:\n${options}\nAn example of ${file}: docs/examples/\n`;
}

/** `orlop uninstall -c orlop.yaml [--dry-run] …` */
export function usageOf(name: ProgramName): string {
  const { file, flags }: ProgramUsage = programs[name];
  return [`orlop ${name} -c ${file}`, ...Object.keys(flags).map((flag) => `[--${flag}]`)].join(" ");
}

/** @param argv what follows the program's name */
export function readCommandLine(name: ProgramName, argv: readonly string[]): CommandLine | CommandLineAnswer {
  const { why, flags }: ProgramUsage = programs[name];
  const options = {
    config: { type: "string", short: "c" },
    help: { type: "boolean", short: "h" },
    ...Object.fromEntries(Object.keys(flags).map((flag) => [flag, { type: "boolean" } as const])),
  } as const;
  const wrong = (what: string, because: string, fix: string): CommandLineAnswer => ({
    ...{ exit: 64, text: `orlop ${name}: ${what}  ORL6004\n  why: ${because}\n  do:  ${fix}\n` },
  });
  try {
    const { config, help, ...given } = parseArgs({ args: [...argv], options }).values;
    if (help === true) return { exit: 0, text: helpOf(name) };
    if (typeof config !== "string" || config === "") return wrong("-c FILE is missing", why, usageOf(name));
    return { config, flags: new Set(Object.keys(given)) };
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    // Of more than a sentence the rest is about positional arguments, which no program takes.
    const [sentence = said] = said.split(". ");
    return wrong(
      sentence.replace(/^[A-Z]/, (letter) => letter.toLowerCase()).replace(/\.$/, ""),
      "the command line is not one that orlop reads",
      `orlop ${name} --help`,
    );
  }
}

/**
 * What a program says that could not begin for want of a permission, as the last part of its output.
 * @returns undefined: the error is another
 */
export function permissionText(name: string, error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || (error.code !== "EACCES" && error.code !== "EPERM"))
    return undefined;
  const why = "its run and state directories, and what it does to the node, are root's";
  const fix = "run it as root: the agent gives its privileges up by itself";
  return `orlop ${name}: ${error.message}\n  why: ${why}\n  do:  ${fix}\n`;
}
