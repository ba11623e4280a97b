// main thread · what is installed on the node, from what is known: nothing before the first list is written, nothing after the DaemonSet
// has gone, and always what the primary plug-in's configuration is now.
import type { Logger } from "../observe/log.ts";
import { comesFirst, type PluginEntry, primaryOf, withPlugin } from "./conflist.ts";
import type { NodeFiles } from "./node-files.ts";

export type InstallationOptions = Omit<PluginEntry, "list">;

export class Installation {
  readonly #files: NodeFiles;
  readonly #options: InstallationOptions;
  readonly #log: Pick<Logger, "info" | "warn" | "error">;
  /** "unknown": the API server has not said whether our DaemonSet is there. What an earlier installer left is kept up to date. */
  #daemonSet: "unknown" | "there" | "gone" = "unknown";
  /** Undefined: the API server has not said. */
  #list: string | undefined;
  #removed = false;
  #passed = 0;
  #said = "";

  constructor(files: NodeFiles, options: InstallationOptions, log: Pick<Logger, "info" | "warn" | "error">) {
    this.#files = files;
    this.#options = options;
    this.#log = log;
  }

  daemonSet(isThere: boolean): void {
    this.#daemonSet = isThere ? "there" : "gone";
  }

  /** What the plug-in reads. */
  listed(list: string): void {
    this.#list = list;
  }

  /** Brings the node's files to what is known. True: the plug-in is in the chain, with a list. */
  look(): boolean {
    try {
      return this.#look();
    } catch (error) {
      this.#say("error", "the node's files cannot be written; trying again", String(error));
      return false;
    }
  }

  #look(): boolean {
    if (this.#daemonSet === "gone") return this.#remove();
    this.#removed = false;
    const isFirst = !this.#files.hasConflist;
    if (this.#daemonSet === "unknown" && isFirst) return false;
    this.#files.writeBinary();
    if (this.#list !== undefined) this.#files.writeList(this.#list);
    else if (isFirst) return false;
    this.#count();
    const primary = primaryOf(this.#files.confFiles());
    if (primary === undefined) {
      // What we have made of the last stays: pods of listed namespaces must not begin without us while another is put in its place.
      this.#say("warn", "there is no CNI configuration to chain into", "none that can be read");
      return !isFirst;
    }
    const { socket, withoutList, exempt } = this.#options;
    const { list } = this.#files;
    this.#files.writeConflist(withPlugin(primary, { socket, list, withoutList, exempt }));
    if (comesFirst(primary)) this.#say("info", "the plug-in is in the chain", primary.file);
    else this.#say("error", "the plug-in is not called: another configuration is read before ours", primary.file);
    return comesFirst(primary);
  }

  #remove(): boolean {
    if (this.#removed) return false;
    this.#files.remove();
    this.#removed = true;
    this.#say("info", "our DaemonSet is not there: the plug-in is out of the chain", "");
    return false;
  }

  #count(): void {
    const { passed } = this.#files;
    if (passed > this.#passed) this.#log.warn("pods began on this node before it had a list of namespaces", { passed });
    this.#passed = passed;
  }

  /** Once, while it stays so. */
  #say(level: "info" | "warn" | "error", message: string, what: string): void {
    const text = `${message} ${what}`;
    if (this.#said === text) return;
    this.#said = text;
    this.#log[level](message, { what });
  }
}
