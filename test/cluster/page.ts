// test cluster · the commands of a page of documentation, and what the page says that they print. Pure.
export type Step = {
  /** Of the page, from 1. */
  readonly line: number;
  readonly command: string;
  /** What it prints; empty: the page does not say. `…` is any text of a line; alone in a line, any lines. */
  readonly expected: readonly string[];
};

/**
 * Steps of ```console blocks, by the heading of level 2 above them. A command begins with `$ ` and goes on in the next line where it
 * ends with a backslash.
 */
export function sectionsOf(markdown: string): ReadonlyMap<string, readonly Step[]> {
  const sections = new Map<string, Step[]>();
  let steps: Step[] = [];
  let isConsole = false;
  let command: { readonly line: number; text: string; expected: string[] } | undefined;
  const finish = (): void => {
    if (command !== undefined) steps.push({ line: command.line, command: command.text, expected: command.expected });
    command = undefined;
  };
  for (const [at, text] of markdown.split("\n").entries()) {
    if (!isConsole && text.startsWith("## ")) {
      steps = [];
      sections.set(text.slice(3), steps);
    } else if (text.startsWith("```")) {
      finish();
      isConsole = !isConsole && text === "```console";
    } else if (isConsole && text.startsWith("$ ")) {
      finish();
      command = { line: at + 1, text: text.slice(2), expected: [] };
    } else if (isConsole && command?.text.endsWith("\\")) command.text += `\n${text}`;
    else if (isConsole) command?.expected.push(text);
  }
  return sections;
}

/** Is it what the step expects? Spaces at the ends of lines do not count. */
export function isExpected(output: string, { expected }: Pick<Step, "expected">): boolean {
  if (expected.length === 0) return true;
  const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  const lines = expected.map((line) =>
    line.trim() === "…" ? "(?:[^\\n]*\\n)*?" : `${line.split("…").map(literal).join("[^\\n]*")}\\n`,
  );
  const printed = output
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
  return new RegExp(`^${lines.join("")}$`).test(`${printed.trimEnd()}\n`);
}

/** May it be run again until it prints what is expected? Only what looks, and the page's calls of its application. */
export const isQuestion = ({ command }: Pick<Step, "command">): boolean =>
  /^(kubectl (-n \S+ )?(exec|get|logs)\b|for ip in )/.test(command) && !command.includes("rm -r");
