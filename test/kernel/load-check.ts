// The verifier's gate (root) · loads every program through keeper.node with CAP_BPF and CAP_NET_ADMIN alone, says how much the
// verifier looked at, unloads. Ends with a code other than 0, and the verifier's last lines, when one does not load.
// Nothing stays behind.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Programs } from "../../agent/keeper/addon.ts";

/** Half of the 1,000,000 that the verifier grants since 5.2, and far above what ours need. */
const BUDGET = 500_000;

function load(pinDir: string): void {
  const programs = new Programs({ pinDir, heartbeatLimitNs: 2_000_000_000n });
  for (const { name, attach, tag, verifiedInstructions } of programs.programs()) {
    console.log(`${name.padEnd(20)} ${attach.padEnd(20)} tag ${tag}  ${verifiedInstructions} instructions verified`);
    if (verifiedInstructions > BUDGET) {
      console.error(`${name}: over the budget of ${BUDGET}`);
      process.exitCode = 1;
    }
  }
  programs.close();
}

const [pinDir] = process.argv.slice(2);
if (pinDir !== undefined) {
  try {
    load(pinDir);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
} else {
  const mount = mkdtempSync(join(tmpdir(), "orlop-load-"));
  execFileSync("mount", ["-t", "bpf", "bpf", mount]);
  try {
    const least = ["--bounding-set", "-all,+bpf,+net_admin", "--inh-caps=-all"];
    const words = [...least, process.execPath, fileURLToPath(import.meta.url), join(mount, "check")];
    process.exitCode = spawnSync("setpriv", words, { stdio: "inherit" }).status ?? 1;
  } finally {
    // Unmounting drops the pins, and with them the maps.
    execFileSync("umount", [mount]);
    rmdirSync(mount);
  }
}
