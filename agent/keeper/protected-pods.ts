// keeper · the pods that must refuse plaintext whenever they are there, until an agent says otherwise, and what agents call each pod that
// the keeper holds: kept on disk, so that the next keeper guards them before any agent is there, also after a reboot, and the next agent
// knows each pod by its name. Changes that come together are written together.
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
type KeptPod = { readonly workload: string; readonly addresses: readonly string[] };

const unknown: KeptPod = { workload: "", addresses: [] };

export class ProtectedPods {
  readonly #pods: Map<string, KeptPod>;
  /** Pods that the keeper holds and that may pass plaintext. A keeper of an earlier release does not read these. */
  readonly #open: Map<string, KeptPod>;
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
    this.#open = new Map();
    try {
      const { pods, open, strange } = decode(file.read());
      this.#pods = pods;
      this.#open = open;
      if (strange > 0)
        failed(new Error(`${strange} of the entries are not of pods, or of more pods than there may be`));
    } catch (error) {
      failed(error);
    }
  }

  /** Those that must refuse plaintext. */
  all(): readonly string[] {
    return [...this.#pods.keys()];
  }

  has(uid: string): boolean {
    return this.#pods.has(uid);
  }

  of(uid: string): KeptPod {
    return this.#pods.get(uid) ?? this.#open.get(uid) ?? unknown;
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

  /** It must refuse plaintext from here on. What is not said stays as it is known. */
  add(uid: string, said: Partial<KeptPod> = {}): void {
    const before = this.#pods.get(uid);
    const pod = { ...this.of(uid), ...said };
    if (before !== undefined && isDeepStrictEqual(before, pod)) return;
    this.#open.delete(uid);
    this.#pods.set(uid, pod);
    this.#changed();
  }

  /** What an agent calls a pod that the keeper holds, whether or not it must refuse plaintext. */
  name(uid: string, workload: string): void {
    if (this.has(uid)) this.add(uid, { workload });
    else if (this.#open.get(uid)?.workload !== workload) {
      this.#open.set(uid, { ...this.of(uid), workload });
      this.#changed();
    }
  }

  /** It may pass plaintext from here on. Its name stays known. */
  open(uid: string): void {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    this.#pods.delete(uid);
    if (pod.workload !== "") this.#open.set(uid, { workload: pod.workload, addresses: [] });
    this.#changed();
  }

  delete(uid: string): void {
    const wasProtected = this.#pods.delete(uid);
    const wasOpen = this.#open.delete(uid);
    if (wasProtected || wasOpen) this.#changed();
  }

  /** Names go with their pods; a pod that must refuse plaintext is awaited. */
  forgetOpen(isHeld: (uid: string) => boolean): void {
    for (const uid of this.#open.keys()) if (!isHeld(uid)) this.delete(uid);
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
    const open = [...this.#open].map(([uid, { workload }]) => ({ uid, workload }));
    try {
      await this.#file.write(JSON.stringify({ version: VERSION, pods, ...(open.length > 0 && { open }) }));
    } catch (error) {
      this.#failed(error);
    }
    this.#written = changes;
    this.#writing = undefined;
  }
}

/** An entry that is not what was written takes none of the others with it. @throws when the text is no list */
function decode(text: string | undefined): {
  readonly pods: Map<string, KeptPod>;
  readonly open: Map<string, KeptPod>;
  readonly strange: number;
} {
  if (text === undefined) return { pods: new Map(), open: new Map(), strange: 0 };
  const read: unknown = JSON.parse(text);
  // An earlier release kept no names of pods that pass plaintext.
  const { version, pods, open = [] } = read as Partial<Record<string, unknown>>;
  if (version !== VERSION || !Array.isArray(pods)) throw new Error("not a list of pods");
  const [kept, named] = [decodeEntries(pods), decodeEntries(Array.isArray(open) ? open : [open])];
  return { pods: kept.pods, open: named.pods, strange: kept.strange + named.strange };
}

function decodeEntries(entries: readonly Record<string, unknown>[]): {
  readonly pods: Map<string, KeptPod>;
  readonly strange: number;
} {
  const pods = new Map<string, KeptPod>();
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
