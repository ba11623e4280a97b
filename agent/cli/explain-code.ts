// CLI · orlop explain-code ORLnnnn: the page of a code, offline. A word of docs/reasons/ has its page here too.
import { readdirSync, readFileSync } from "node:fs";
import { type CliEnv, CliFailure, type Exit, exits } from "./output.ts";

const folders = [
  new URL("../../docs/codes/", import.meta.url),
  new URL("../../docs/reasons/", import.meta.url),
] as const;

/** Every code and reason with a page. */
export function explainable(): readonly string[] {
  return folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".md"))
      .map((name) => name.slice(0, -3))
      .toSorted(),
  );
}

/**
 * A page in a line, without Markdown: a code's heading, of a reason or a flag the first sentence.
 * @param page the text of a file of docs/codes/ or docs/reasons/
 */
export function summaryOf(page: string): string {
  const [heading = "", ...blocks] = page.split("\n\n");
  const ofCode = /^# ORL\d+: (.+)/.exec(heading)?.[1];
  if (ofCode !== undefined) return ofCode;
  const text = (blocks[0] ?? "").replaceAll("\n", " ").replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  const [sentence = ""] = text.split(/(?<=[.:]) (?=[A-Z`])/);
  return sentence.replace(/[.:]$/, "");
}

const pageOf = (name: string): string => {
  const folder = folders.find((each) => readdirSync(each).includes(`${name}.md`));
  return folder === undefined ? "" : readFileSync(new URL(`${name}.md`, folder), "utf8");
};

export function explainCode(env: CliEnv, wanted: string | undefined): Exit {
  const all = explainable();
  if (wanted === undefined) {
    const width = Math.max(...all.map((name) => name.length));
    env.stdout(all.map((name) => `${name.padEnd(width)}  ${summaryOf(pageOf(name))}\n`).join(""));
    return exits.ok;
  }
  // Only names that stand in the list are opened: nothing of the argument reaches a path.
  const name = all.find((candidate) => candidate.toLowerCase() === wanted.toLowerCase());
  if (name === undefined) {
    throw new CliFailure(exits.failed, {
      code: "ORL6004",
      what: `there is no page for ${wanted}`,
      why: "it is neither a code (ORL1001), a reason (no-allow-matched) nor a response flag (DENY)",
      fix: "list them: orlop explain-code",
    });
  }
  env.stdout(pageOf(name));
  return exits.ok;
}
