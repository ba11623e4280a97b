// keeper · `orlop uninstall`: takes away what Orlop has put on this node. Where no program serves, a keeper begins and at once ends as at
// an operator's stop, so that everything goes in the order that keeps connections right.
import { closeSync, constants, existsSync, lstatSync, openSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { runKeeper } from "./keeper.ts";
import type { KeeperLog } from "./lend.ts";
import { pinDirectory } from "./programs.ts";
import type { KeeperSettings } from "./settings.ts";
import { removeTree } from "./takeover.ts";

export type UninstallTarget = {
  readonly keeper: KeeperSettings;
  readonly adminSocket: string;
  readonly runDirectory: string;
  /** The agent's; the keeper's is in its settings. */
  readonly stateDirectory: string;
};

export type UninstallOptions = {
  /** Also what must outlive a reboot, the root's key among it. */
  readonly state: boolean;
  /** Take the programs out of the kernel although something serves, or although a keeper cannot begin. */
  readonly force: boolean;
  readonly dryRun: boolean;
};

export type UninstallPorts = {
  readonly out: (line: string) => void;
  /** What is wrong, why, and what the operator can do. */
  readonly failed: (what: string, why: string, fix: string) => void;
  /** What the keeper that puts things in order warns of. */
  readonly warn: (line: string) => void;
};

/** Resolves to the exit status: 0, also when there was nothing to take away; 1 when something stays that was to go; 77 without root. */
export async function uninstall(
  { keeper, adminSocket, runDirectory, stateDirectory }: UninstallTarget,
  { state, force, dryRun }: UninstallOptions,
  ports: UninstallPorts,
): Promise<number> {
  const { out, failed } = ports;
  if (process.geteuid?.() !== 0) {
    failed("this takes root", "programs in the kernel and inside pods are root's", "run it with sudo");
    return 77;
  }
  // Of all layout versions.
  const pins = dirname(pinDirectory(keeper.bpffs, keeper.node));
  const serving = (await isServed(keeper.socket)) ? "keeper" : (await isServed(adminSocket)) ? "agent" : undefined;
  const folders = [keeper.directory, runDirectory, ...(state ? [keeper.stateDirectory, stateDirectory] : [])];
  const present = [pins, ...folders].filter((path) => existsSync(path));
  if (present.length === 0) {
    out("nothing of Orlop is on this node");
    return 0;
  }
  const leaving = serving === undefined ? present : present.filter((path) => path === pins);
  for (const path of leaving)
    out(`${dryRun ? "would remove" : "removes"} ${path}${noteOf(path, pins, stateDirectory)}`);
  if (serving !== undefined) {
    for (const line of whileServing) out(line);
    if (!force) {
      failed(
        `the ${serving} of this node is serving, and nothing was removed`,
        "pods under STRICT would be open at once, and a program that runs would miss what is gone",
        "stop `orlop run` or delete the DaemonSets first; or accept the above with --force",
      );
      return 1;
    }
  }
  if (dryRun) return 0;
  if (existsSync(pins) && !(await releasesAll(keeper, serving, force, ports))) return 1;
  if (serving !== undefined) return 0;
  for (const path of folders) if (existsSync(path)) removeOwned(path);
  return 0;
}

const whileServing = [
  "  a program of this node serves. With --force its hooks leave the kernel all the same:",
  "  - every pod of this node is out of the mesh at once, STRICT or not; new connections are plaintext",
  "  - connections that the agent carries go on until it ends; callers on other nodes that still expect mTLS of these pods are refused",
  "  - the run directories stay until the programs have ended: run this command again then",
];

function noteOf(path: string, pins: string, stateDirectory: string): string {
  if (path === pins) return ": every pod's capture, the programs in the kernel and their maps";
  return path === stateDirectory ? ": the last good mesh, and the root's key where this node has it" : "";
}

/** False: what is pinned stays, and why was said. */
async function releasesAll(
  keeper: KeeperSettings,
  serving: string | undefined,
  force: boolean,
  { out, failed, warn }: UninstallPorts,
): Promise<boolean> {
  const pins = dirname(pinDirectory(keeper.bpffs, keeper.node));
  if (serving === undefined) {
    try {
      await runKeeper(keeper, { log: warnings(warn), signal: AbortSignal.abort(), removeOnExit: true });
      return true;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (!force) {
        failed(
          "the pods could not be released in order",
          why,
          "mend that and run the command again; or add --force: rules and routes inside running pods then stay until these end",
        );
        return false;
      }
      out(`  the pods cannot be released in order (${why}): their programs are removed as they are`);
    }
  }
  if (!existsSync(pins)) return true;
  removeTree(pins);
  // Other nodes of this machine may have theirs beside it.
  if (readdirSync(dirname(pins)).length === 0) rmdirSync(dirname(pins));
  return true;
}

function warnings(warn: (line: string) => void): KeeperLog {
  const line = (message: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    warn([message, ...Object.entries(fields).map(([name, value]) => `${name}=${value}`)].join(" "));
  return { debug: () => {}, info: () => {}, warn: line, error: line };
}

/** Somebody accepts connections on this unix socket. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) =>
      resolve(!["ENOENT", "ECONNREFUSED", "ENOTDIR"].includes(error.code ?? "")),
    );
  });
}

/**
 * Removes a directory with all that is in it. The agent's user may write in some of these directories: each is entered by its descriptor,
 * so that no link that is put there meanwhile leads root elsewhere.
 */
function removeOwned(directory: string): void {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    for (const name of readdirSync(`/proc/self/fd/${fd}`)) {
      const path = `/proc/self/fd/${fd}/${name}`;
      if (lstatSync(path).isDirectory()) removeOwned(path);
      else unlinkSync(path);
    }
  } finally {
    closeSync(fd);
  }
  rmdirSync(directory);
}
