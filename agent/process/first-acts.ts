// start-up · before their rooms are loaded: what needs root is done, and what root could do is given up. Loads
// little, because the process executes itself once in here and loads it again.
import { closeSync, constants, existsSync, fchownSync, fstatSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import type { AgentConfig, KeeperConfig } from "../config.ts";
import { type Relief, takeRelief } from "./handover.ts";
import { forbidDumps, raiseOpenFiles, setLimit } from "./libc.ts";
import { agentStarts, keeperStarts, shedPrivileges } from "./privileges.ts";

/** Returns in the process that has shed its privileges; it is still root, for files that only root may read. */
export function firstActs(config: AgentConfig): Relief | null {
  handOverFiles(config);
  const relief = takeRelief();
  // glibc would keep an arena for each of a dozen threads. Two would do for less memory, but cost a tenth more CPU per
  // request. Read when the process begins.
  process.env.MALLOC_ARENA_MAX ??= "4";
  shedPrivileges(agentStarts);
  forbidDumps();
  setLimit("core", { soft: 0n, hard: 0n });
  raiseOpenFiles();
  return relief;
}

/**
 * The keeper stays root, with the few capabilities it uses. Its group is the agent's, so that its socket is: a chown would
 * need one more.
 */
export function keeperFirstActs({ agentGid }: KeeperConfig): void {
  const { getgid, setgroups, setgid } = process;
  if (getgid && setgroups && setgid && getgid() !== agentGid) {
    setgroups([]);
    setgid(agentGid);
  }
  shedPrivileges(keeperStarts);
}

/**
 * As root: what the agent will own is made its own, since it will not be root when it opens it. The CA file is in memory
 * as long as the agent lives in any case (SECURITY.md).
 */
function handOverFiles(config: AgentConfig): void {
  if (process.getuid?.() !== 0) return;
  mkdirSync(config.runDir, { recursive: true, mode: 0o755 });
  handOver(config.runDir, config);
  const caDirectory = dirname(config.ca.rootFile);
  if (!existsSync(caDirectory)) {
    mkdirSync(caDirectory, { recursive: true, mode: 0o700 });
    handOver(caDirectory, config);
  }
  if (existsSync(config.ca.rootFile)) handOver(config.ca.rootFile, config);
}

/**
 * What lies in the agent's directories was put there by an agent, perhaps one that was taken over: a link, symbolic or hard, to
 * somebody else's file is left alone, and the agent will say that the file is not its own.
 */
export function handOver(path: string, { agentUid, agentGid }: Pick<AgentConfig, "agentUid" | "agentGid">): void {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ELOOP") return;
    throw error;
  }
  try {
    const found = fstatSync(fd);
    const plain = found.isDirectory() || (found.isFile() && found.nlink === 1);
    // Done once: the second time we come here, in the process that shed its capabilities, it could not be done.
    if (plain && found.uid !== agentUid) fchownSync(fd, agentUid, agentGid);
  } finally {
    closeSync(fd);
  }
}
