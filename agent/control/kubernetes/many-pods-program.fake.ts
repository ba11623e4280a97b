// tests, bench · many-pods-agent.fake.ts as JavaScript, with the modules of this revision: measured is what an agent takes, which runs so.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** The path of the program, made anew: what `make` makes has no fakes. */
export function manyPodsAgent(): string {
  const folder = join(root, "build/with-fakes");
  execFileSync(process.execPath, ["--no-warnings", join(root, ".ci/strip.js"), folder, "fakes"]);
  return join(folder, "agent/control/kubernetes/many-pods-agent.fake.js");
}
