// CLI · orlop completion SHELL, and the hidden `__complete` that the scripts call: one candidate a line, never an error.
import { fullName } from "../mesh/full-name.ts";
import { connect, socketPath } from "./client.ts";
import { resourceNamed, resources } from "./get.ts";
import { type CliEnv, CliFailure, type Exit, exits, printable } from "./output.ts";

export type CommandNames = {
  readonly commands: readonly string[];
  readonly flagsOf: (command: string) => readonly string[];
  readonly subcommandsOf: (command: string) => readonly string[];
};

/** A prompt must not hang on an agent that does. */
const askMs = 500;

/** `words` are those after `orlop`; the last one is being typed and may be empty. */
export async function complete(env: CliEnv, words: readonly string[], names: CommandNames): Promise<Exit> {
  const typed = words.at(-1) ?? "";
  const candidates = await candidatesFor(env, words.slice(0, -1), typed, names);
  const fitting = [...new Set(candidates)].filter((word) => word.startsWith(typed)).toSorted();
  env.stdout(fitting.map((word) => `${printable(word)}\n`).join(""));
  return exits.ok;
}

async function candidatesFor(
  env: CliEnv,
  before: readonly string[],
  typed: string,
  names: CommandNames,
): Promise<readonly string[]> {
  const [command, ...rest] = before;
  if (command === undefined) return names.commands;
  if (typed.startsWith("-")) return names.flagsOf(command);
  const last = rest.at(-1);
  if (last === "-o" || last === "--output") return ["table", "wide", "json", "yaml", "name"];
  if (last === "-n" || last === "--namespace") return (await known(env, "workloads")).map(({ namespace }) => namespace);
  const plain = rest.filter((word) => !word.startsWith("-"));
  switch (command) {
    case "get":
      return plain[0] === undefined ? Object.keys(resources) : (await known(env, plain[0])).map(({ name }) => name);
    case "describe": {
      const [kind = ""] = typed.split("/", 1);
      if (!typed.includes("/")) return ["pod/", "svc/", "policy/"];
      return (await known(env, kind)).map(({ name }) => `${kind}/${name}`);
    }
    case "explain":
      if (plain.length > 1) return [];
      return (await known(env, "workloads")).map(fullName);
    case "explain-code":
      return (await import("./explain-code.ts")).explainable();
    case "completion":
      return Object.keys(scripts);
    default:
      return names.subcommandsOf(command);
  }
}

async function known(
  env: CliEnv,
  word: string,
): Promise<readonly { readonly name: string; readonly namespace: string }[]> {
  try {
    const client = connect({ socket: socketPath(undefined, env.vars), dump: undefined, timeoutMs: askMs });
    switch (resourceNamed(word)) {
      case "workloads":
        return (await client.view("workloads")).items;
      case "services":
        return (await client.view("services")).items;
      case "policies":
        return (await client.view("policies")).items;
      case "routes":
        return (await client.view("routes")).items;
      case "limits":
        return (await client.view("limits")).items;
      case "certs":
        return (await client.view("certs")).items.map(({ identity }) => ({ name: identity, namespace: "" }));
      default:
        return [];
    }
  } catch (error) {
    // Without an agent there are no names to offer, and a prompt is no place to say so.
    if (error instanceof CliFailure) return [];
    throw error;
  }
}

export function completionScript(env: CliEnv, shell: string): Exit {
  const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
  if (script === undefined) {
    throw new CliFailure(exits.usage, {
      code: "ORL6004",
      what: `there is no completion for ${shell}`,
      why: "it is none of bash, zsh, fish",
      fix: "source <(orlop completion bash)",
    });
  }
  env.stdout(script);
  return exits.ok;
}

const scripts: Readonly<Record<string, string>> = {
  bash: `# source <(orlop completion bash)
_orlop() {
  local IFS=$'\\n'
  COMPREPLY=($(orlop __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  case "\${COMPREPLY[*]}" in */) compopt -o nospace ;; esac
}
complete -F _orlop orlop
`,
  zsh: `#compdef orlop
# source <(orlop completion zsh)
_orlop() {
  local -a found
  found=("\${(@f)$(orlop __complete -- "\${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
  compadd -a found
}
compdef _orlop orlop
`,
  fish: `# orlop completion fish | source
complete -c orlop -f -a '(orlop __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
};
