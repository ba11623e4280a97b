// The verifier's gate (root) · loads every program through keeper.node, says how much the verifier looked at, unloads.
// Ends with a code other than 0, and the verifier's last lines, when one does not load. Nothing stays behind.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Programs } from "../../agent/keeper/addon.ts";

/** Half of the 1,000,000 that the verifier grants since 5.2, and far above what ours need. */
const BUDGET = 500_000;

const mount = mkdtempSync(join(tmpdir(), "orlop-load-"));
execFileSync("mount", ["-t", "bpf", "bpf", mount]);
try {
  const programs = new Programs({ pinDir: join(mount, "check"), heartbeatLimitNs: 2_000_000_000n });
  for (const { name, attach, tag, verifiedInstructions } of programs.programs()) {
    console.log(`${name.padEnd(15)} ${attach.padEnd(20)} tag ${tag}  ${verifiedInstructions} instructions verified`);
    if (verifiedInstructions > BUDGET) {
      console.error(`${name}: over the budget of ${BUDGET}`);
      process.exitCode = 1;
    }
  }
  programs.close();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  // Unmounting drops the pins, and with them the maps.
  execFileSync("umount", [mount]);
  rmdirSync(mount);
}
