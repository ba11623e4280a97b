// main thread · what the installer writes on the node: each file whole and on the disk, or not at all.
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { type ConfFile, isConfName, OWN_CONFLIST, PLUGIN } from "./conflist.ts";

export type NodeDirectories = {
  /** Where the container runtime looks for configurations. */
  readonly confDir: string;
  /** Where it looks for plug-ins. */
  readonly binDir: string;
  /** Of the list of namespaces. */
  readonly stateDir: string;
  /** The plug-in, to be copied. */
  readonly binary: string;
};

/** A configuration is read up to here; what is longer is none. */
const MAX_CONF_BYTES = 1024 * 1024;

export class NodeFiles {
  readonly #directories: NodeDirectories;

  constructor(directories: NodeDirectories) {
    this.#directories = directories;
  }

  get list(): string {
    return join(this.#directories.stateDir, "namespaces");
  }

  /** Pods that passed while there was no list. */
  get passed(): number {
    return statSync(`${this.list}.passed`, { throwIfNoEntry: false })?.size ?? 0;
  }

  get hasConflist(): boolean {
    return statSync(this.#conflist, { throwIfNoEntry: false }) !== undefined;
  }

  /** @throws the file system's errors */
  writeBinary(): void {
    const { binDir, binary } = this.#directories;
    replace(join(binDir, PLUGIN), readFileSync(binary), 0o755);
  }

  /** @throws the file system's errors */
  writeList(text: string): void {
    mkdirSync(dirname(this.list), { recursive: true, mode: 0o755 });
    replace(this.list, Buffer.from(text), 0o644);
  }

  /** @throws the file system's errors */
  writeConflist(text: string): void {
    replace(this.#conflist, Buffer.from(text), 0o600);
  }

  /** Files that cannot be read are left out. @throws when the directory cannot be read */
  confFiles(): readonly ConfFile[] {
    const { confDir } = this.#directories;
    return readdirSync(confDir)
      .filter(isConfName)
      .flatMap((name) => {
        try {
          const path = join(confDir, name);
          return statSync(path).size > MAX_CONF_BYTES ? [] : [{ name, text: readFileSync(path, "utf8") }];
        } catch {
          return [];
        }
      });
  }

  /** The plug-in last: a runtime that has read our configuration may still call it. @throws the file system's errors */
  remove(): void {
    for (const path of [this.#conflist, this.list, `${this.list}.passed`, join(this.#directories.binDir, PLUGIN)])
      rmSync(path, { force: true });
  }

  get #conflist(): string {
    return join(this.#directories.confDir, OWN_CONFLIST);
  }
}

/** Nothing is written where the same is there already: a runtime would read its configurations again. */
function replace(path: string, bytes: Uint8Array, mode: number): void {
  if (isSame(path, bytes)) return;
  // Runtimes read no file of such a name.
  const draft = join(dirname(path), `.${PLUGIN}.new`);
  rmSync(draft, { force: true });
  writeFileSync(draft, bytes, { mode, flag: "wx", flush: true });
  chmodSync(draft, mode); // the umask of this process took bits away
  renameSync(draft, path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function isSame(path: string, bytes: Uint8Array): boolean {
  try {
    return readFileSync(path).equals(bytes);
  } catch {
    return false;
  }
}
