// test model · the small C programs of the models: compiled once for each run of a test file.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const names = ["serve", "probe", "watch", "fill", "hold"] as const;
export type Programs = Readonly<Record<(typeof names)[number], string>>;

const folder = fileURLToPath(new URL("../../build/model/", import.meta.url));
const flags = ["-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"];

export function compilePrograms(): Programs {
  mkdirSync(folder, { recursive: true });
  const compile = (name: string): string => {
    const program = path.join(folder, name);
    const source = fileURLToPath(new URL(`native/${name}.c`, import.meta.url));
    execFileSync("cc", [...flags, "-o", program, source]);
    return program;
  };
  return {
    serve: compile("serve"),
    probe: compile("probe"),
    watch: compile("watch"),
    fill: compile("fill"),
    hold: compile("hold"),
  };
}
