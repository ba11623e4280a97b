// start-up · what agent and keeper do as root before their rooms are loaded: they hand files over and give up privileges. This
// file loads little, because in here the process executes itself once and loads it again.
import {
  closeSync,
  constants,
  existsSync,
  fchownSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  type Stats,
} from "node:fs";
import { basename, dirname } from "node:path";
import { type Handover, takeHandover } from "./handover.ts";
import { forbidDumps, raiseOpenFiles, setLimit } from "./libc.ts";
import { memoryEnvironment } from "./memory-environment.ts";
import { agentStarts, keeperStarts, shedPrivileges } from "./privileges.ts";

export type AgentUser = { readonly agentUid: number; readonly agentGid: number };
/** What root hands to the agent's user: run and state directory, and the CA file with its directory. */
export type AgentFiles = AgentUser & {
  readonly runDir: string;
  readonly stateDir: string;
  /** `access`: stdout, off or a path. */
  readonly log: { readonly access: string };
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
  const { access } = config.log;
  const logName = dirname(access) === config.runDir ? [basename(access)] : [];
  mkdirSync(config.runDir, { recursive: true, mode: 0o755 });
  giveDirectory(config.runDir, [...keptNames, ...logName], config);
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  giveDirectory(config.stateDir, keptNames, config);
  // What an authority elsewhere needs, the kubelet mounts readable.
  if (config.ca.provider === "service") return;
  const caDirectory = dirname(config.ca.rootFile);
  // A directory that the operator made for the file is the operator's; that of an agent with another user becomes this agent's.
  const isNew = mkdirSync(caDirectory, { recursive: true, mode: 0o700 }) !== undefined;
  if (isNew || ownerOf(caDirectory) === FORMER_USER) giveToAgent(caDirectory, config);
  if (existsSync(config.ca.rootFile)) giveToAgent(config.ca.rootFile, config);
}

/** Of agents of earlier revisions, unless configured otherwise. */
const FORMER_USER = 65_534;
/** What an agent keeps for the next agent (agent/control/last-good.ts). */
const keptNames = ["last-good.json", "last-good", "last-good-cluster.jsonl"];

/**
 * Makes a directory the agent's. Where it was that of an agent with another user, what that agent kept in it comes first: a start that is
 * killed begins again. An attacker who had taken that agent over may exchange what is in there meanwhile, so each thing is opened below its
 * directory's descriptor, and looked at by its own: links are left alone, and what is not that user's.
 */
export function giveDirectory(path: string, names: readonly string[], agent: AgentUser): void {
  const fd = openOwn(path, constants.O_DIRECTORY);
  if (fd === undefined) return;
  try {
    const { uid } = fstatSync(fd);
    if (uid !== 0 && uid !== agent.agentUid) giveKept(fd, names, uid, agent, true);
  } finally {
    closeSync(fd);
  }
  giveToAgent(path, agent);
}

function giveKept(
  directory: number,
  names: readonly string[],
  formerUid: number,
  agent: AgentUser,
  withDirectories: boolean,
): void {
  for (const name of names) {
    const fd = openOwn(`/proc/self/fd/${directory}/${name}`);
    if (fd === undefined) continue;
    try {
      const found = fstatSync(fd);
      if (!isPlain(found) || found.uid !== formerUid) continue;
      if (found.isDirectory() && !withDirectories) continue;
      if (found.isDirectory()) giveKept(fd, readdirSync(`/proc/self/fd/${fd}`), formerUid, agent, false);
      fchownSync(fd, agent.agentUid, agent.agentGid);
    } finally {
      closeSync(fd);
    }
  }
}

/**
 * Makes a file or directory the agent's. An agent wrote what lies in its directories, perhaps an agent that an attacker had taken
 * over: a symbolic or hard link to another owner's file is left alone, and the agent will report that the file is not its own.
 */
export function giveToAgent(path: string, { agentUid, agentGid }: AgentUser): void {
  const fd = openOwn(path);
  if (fd === undefined) return;
  try {
    const found = fstatSync(fd);
    // The process comes here a second time after it has shed its capabilities, and could not do it then.
    if (isPlain(found) && found.uid !== agentUid) fchownSync(fd, agentUid, agentGid);
  } finally {
    closeSync(fd);
  }
}

/** Undefined: nothing is there, or a symbolic link, or no directory where it is to be a directory. */
function openOwn(path: string, more = 0): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | more);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    // A socket: ENXIO.
    if (["ELOOP", "ENOENT", "ENOTDIR", "ENXIO"].includes(code)) return undefined;
    throw error;
  }
}

/** No other name may lead to it. */
const isPlain = (found: Stats): boolean => found.isDirectory() || (found.isFile() && found.nlink === 1);

function ownerOf(path: string): number | undefined {
  const fd = openOwn(path);
  if (fd === undefined) return undefined;
  try {
    return fstatSync(fd).uid;
  } finally {
    closeSync(fd);
  }
}
