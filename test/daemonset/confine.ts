// tests · builds confine.c and writes a profile's filter, in a directory that is removed with the test.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile, readProfile } from "./seccomp-filter.ts";

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
export const nodeBinary = realpathSync(process.execPath);

export class Bench {
  /** Readable by the agent's user. */
  readonly folder = mkdtempSync(join(tmpdir(), "orlop-confined-"));

  constructor() {
    chmodSync(this.folder, 0o755);
  }

  build(source: string): string {
    const program = join(this.folder, source.replace(/\.c$/, ""));
    execFileSync("cc", ["-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", program, here(source)]);
    return program;
  }

  /** The words that go before a program's: it then runs under the profile. */
  under(name: "agent" | "keeper", otherwise: "kill" | "profile"): [string, string] {
    const filter = join(this.folder, `${name}.${otherwise}`);
    writeFileSync(filter, compile(readProfile(name), otherwise));
    return [this.build("confine.c"), filter];
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
