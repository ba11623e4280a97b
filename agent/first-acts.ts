// orlop agent · before its rooms are loaded: what needs root is done, and what root could do is given up. Loads little, because
// the process executes itself once in here and loads it again.
import { chownSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { AgentConfig } from "./config.ts";
import { forbidDumps, raiseOpenFiles, setLimit, shedPrivileges } from "./libc.ts";
import { type Relief, takeRelief } from "./relief.ts";

/** Returns in the process that has shed its privileges; it is still root, for files that only root may read. */
export function firstActs(config: AgentConfig): Relief | null {
  handOverFiles(config);
  const relief = takeRelief();
  shedPrivileges();
  forbidDumps();
  setLimit("core", { soft: 0n, hard: 0n });
  raiseOpenFiles();
  return relief;
}

/**
 * As root: what the agent will own is made its own, since it will not be root when it opens it. The CA file is in memory
 * as long as the agent lives in any case (SECURITY.md).
 */
function handOverFiles(config: AgentConfig): void {
  if (process.getuid?.() !== 0) return;
  const own = (path: string): void => {
    // Done once: the second time we come here, in the process that shed its capabilities, it could not be done.
    if (statSync(path).uid !== config.agentUid) chownSync(path, config.agentUid, config.agentGid);
  };
  mkdirSync(config.runDir, { recursive: true, mode: 0o755 });
  own(config.runDir);
  const caDirectory = dirname(config.ca.rootFile);
  if (!existsSync(caDirectory)) {
    mkdirSync(caDirectory, { recursive: true, mode: 0o700 });
    own(caDirectory);
  }
  if (existsSync(config.ca.rootFile)) own(config.ca.rootFile);
}
