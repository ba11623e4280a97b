// keeper · the pods that must refuse plaintext whenever they are there, until an agent says otherwise: kept on disk, so that the
// next keeper guards them before any agent is there, also after a reboot. Changes that come together are written together.
import { readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { isAddressList, isPodUid, isWorkloadName, MAX_PODS } from "./requests.ts";

const VERSION = 1;

/** Where the list is kept. */
export interface ProtectedPodsFile {
  /** Undefined: there is none. */
  read(): string | undefined;
  /** Resolves when the text is on the disk, in place of the text before. */
  write(text: string): Promise<void>;
}

/** What the agent calls the pod, and the addresses under which it was captured last; empty: nobody has said. */
type ProtectedPod = { readonly workload: string; readonly addresses: readonly string[] };

const unknown: ProtectedPod = { workload: "", addresses: [] };

export class ProtectedPods {
  readonly #pods: Map<string, ProtectedPod>;
  readonly #file: ProtectedPodsFile;
  readonly #failed: (error: unknown) => void;
  /** Changes so far, and those of them that were written. */
  #changes = 0;
  #written = 0;
  #writing: Promise<void> | undefined;

  /** @param failed hears why the list could not be kept; what is protected now stays protected */
  constructor(file: ProtectedPodsFile, failed: (error: unknown) => void) {
    this.#file = file;
    this.#failed = failed;
    this.#pods = new Map();
    try {
      const { pods, strange } = decode(file.read());
      this.#pods = pods;
      if (strange > 0)
        failed(new Error(`${strange} of the entries are not of pods, or of more pods than there may be`));
    } catch (error) {
      failed(error);
    }
  }

  all(): readonly string[] {
    return [...this.#pods.keys()];
  }

  has(uid: string): boolean {
    return this.#pods.has(uid);
  }

  of(uid: string): ProtectedPod {
    return this.#pods.get(uid) ?? unknown;
  }

  /**
   * Resolves when every change so far is on the disk, or the constructor's `failed` has heard why not. The keeper answers the agent
   * after that, all agents' requests of the moment at once: a list written for each pod of a node costs more than the sweep does.
   */
  async kept(): Promise<void> {
    const mine = this.#changes;
    while (this.#written < mine) {
      this.#writing ??= this.#write();
      await this.#writing;
    }
  }

  /** What is not said stays as it is known. */
  add(uid: string, said: Partial<ProtectedPod> = {}): void {
    const before = this.#pods.get(uid);
    const pod = { ...(before ?? unknown), ...said };
    if (before !== undefined && isDeepStrictEqual(before, pod)) return;
    this.#pods.set(uid, pod);
    this.#changed();
  }

  delete(uid: string): void {
    if (this.#pods.delete(uid)) this.#changed();
  }

  /** Written also when nobody waits for it. */
  #changed(): void {
    this.#changes += 1;
    void this.kept();
  }

  async #write(): Promise<void> {
    // What comes in the same turn of the loop is written with it.
    await new Promise(setImmediate);
    const changes = this.#changes;
    const pods = [...this.#pods].map(([uid, pod]) => ({ uid, ...pod }));
    try {
      await this.#file.write(JSON.stringify({ version: VERSION, pods }));
    } catch (error) {
      this.#failed(error);
    }
    this.#written = changes;
    this.#writing = undefined;
  }
}

/** An entry that is not what was written takes none of the others with it. @throws when the text is no list */
function decode(text: string | undefined): { readonly pods: Map<string, ProtectedPod>; readonly strange: number } {
  const pods = new Map<string, ProtectedPod>();
  if (text === undefined) return { pods, strange: 0 };
  const read: unknown = JSON.parse(text);
  const { version, pods: entries } = read as Partial<Record<string, unknown>>;
  if (version !== VERSION || !Array.isArray(entries)) throw new Error("not a list of pods");
  let strange = 0;
  for (const entry of entries) {
    // An earlier release kept no addresses.
    const addresses: unknown = entry?.addresses ?? [];
    if (isPodUid(entry?.uid) && isWorkloadName(entry?.workload) && isAddressList(addresses) && pods.size < MAX_PODS)
      pods.set(entry.uid, { workload: entry.workload, addresses });
    else strange += 1;
  }
  return { pods, strange };
}

/** In a directory in which nobody but the keeper's user may write. */
export function protectedPodsFile(path: string): ProtectedPodsFile {
  return {
    read: () => {
      try {
        return readFileSync(path, "utf8");
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
        throw error;
      }
    },
    write: async (text) => {
      const draft = `${path}.new`;
      const file = await open(draft, "w", 0o600);
      try {
        // All of it, or an error: on a disk that fills up write(2) may take a part.
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, path);
      const folder = await open(dirname(path), "r");
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    },
  };
}
