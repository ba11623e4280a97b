// start-up · what agent and keeper do as root before their rooms are loaded: they hand files over and give up privileges. This
// file loads little, because in here the process executes itself once and loads it again.
import { closeSync, constants, existsSync, fchownSync, fstatSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { type Handover, takeHandover } from "./handover.ts";
import { forbidDumps, raiseOpenFiles, setLimit } from "./libc.ts";
import { memoryEnvironment } from "./memory-environment.ts";
import { agentStarts, keeperStarts, shedPrivileges } from "./privileges.ts";

export type AgentUser = { readonly agentUid: number; readonly agentGid: number };
/** What root hands to the agent's user: the run directory, and the CA file with its directory. */
export type AgentFiles = AgentUser & {
  readonly runDir: string;
  readonly stateDir: string;
  readonly ca: { readonly provider: "embedded"; readonly rootFile: string } | { readonly provider: "service" };
};

/** Returns in the process that has shed its privileges; it is still root, for files that only root may read. */
export function agentFirstActs(config: AgentFiles): Handover | null {
  giveFilesToAgent(config);
  const handover = takeHandover();
  // In force when the process executes itself. In a container it need not, and there the image has said it.
  process.env.MALLOC_ARENA_MAX ??= memoryEnvironment.MALLOC_ARENA_MAX;
  shedPrivileges(agentStarts);
  forbidDumps();
  setLimit("core", { soft: 0n, hard: 0n });
  raiseOpenFiles();
  return handover;
}

/**
 * The keeper stays root, with the few capabilities it uses. It takes the agent's group, so that its socket belongs to that group
 * without a chown, for which it would need another capability.
 */
export function keeperFirstActs({ agentGid }: Pick<AgentUser, "agentGid">): Handover | null {
  const handover = takeHandover();
  const { getgid, setgroups, setgid } = process;
  if (getgid && setgroups && setgid && getgid() !== agentGid) {
    setgroups([]);
    setgid(agentGid);
  }
  shedPrivileges(keeperStarts);
  return handover;
}

/** `orlop cni` writes into directories of root's, as root without a capability. */
export function installerFirstActs(): void {
  shedPrivileges([]);
}

/** `orlop control` holds the root's key: nothing of its memory goes to a disk, and it has no privilege to lose. */
export function controlFirstActs(): void {
  shedPrivileges([]);
  forbidDumps();
  setLimit("core", { soft: 0n, hard: 0n });
}

/**
 * As root: gives the agent the files that it will open when it is not root any more. The CA file is in memory as long as the
 * agent lives in any case (SECURITY.md).
 */
function giveFilesToAgent(config: AgentFiles): void {
  if (process.getuid?.() !== 0) return;
  mkdirSync(config.runDir, { recursive: true, mode: 0o755 });
  giveToAgent(config.runDir, config);
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  giveToAgent(config.stateDir, config);
  // What an authority elsewhere needs, the kubelet mounts readable.
  if (config.ca.provider === "service") return;
  const caDirectory = dirname(config.ca.rootFile);
  if (!existsSync(caDirectory)) {
    mkdirSync(caDirectory, { recursive: true, mode: 0o700 });
    giveToAgent(caDirectory, config);
  }
  if (existsSync(config.ca.rootFile)) giveToAgent(config.ca.rootFile, config);
}

/**
 * Makes a file or directory the agent's. An agent wrote what lies in its directories, perhaps an agent that an attacker had taken
 * over: a symbolic or hard link to another owner's file is left alone, and the agent will report that the file is not its own.
 */
export function giveToAgent(path: string, { agentUid, agentGid }: AgentUser): void {
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
    // The process comes here a second time after it has shed its capabilities, and could not do it then.
    if (plain && found.uid !== agentUid) fchownSync(fd, agentUid, agentGid);
  } finally {
    closeSync(fd);
  }
}
