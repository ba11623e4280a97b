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

export function explainCode(env: CliEnv, wanted: string | undefined): Exit {
  const all = explainable();
  if (wanted === undefined) {
    env.stdout(all.map((name) => `${name}\n`).join(""));
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
  for (const folder of folders) {
    if (readdirSync(folder).includes(`${name}.md`)) env.stdout(readFileSync(new URL(`${name}.md`, folder), "utf8"));
  }
  return exits.ok;
}
