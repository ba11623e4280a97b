// keeper · the pods that must refuse plaintext whenever they are there, until an agent says otherwise: kept on disk, so that the
// next keeper guards them before any agent is there, also after a reboot.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { isAddressList, isPodUid, isWorkloadName, MAX_PODS } from "./requests.ts";

const VERSION = 1;

/** Where the list is kept. */
export interface ProtectedPodsFile {
  /** Undefined: there is none. */
  read(): string | undefined;
  write(text: string): void;
}

/** What the agent calls the pod, and the addresses under which it was captured last; empty: nobody has said. */
type ProtectedPod = { readonly workload: string; readonly addresses: readonly string[] };

const unknown: ProtectedPod = { workload: "", addresses: [] };

export class ProtectedPods {
  readonly #pods: Map<string, ProtectedPod>;
  readonly #file: ProtectedPodsFile;
  readonly #failed: (error: unknown) => void;

  /** @param failed hears why the list could not be kept; what is protected now stays protected */
  constructor(file: ProtectedPodsFile, failed: (error: unknown) => void) {
    this.#file = file;
    this.#failed = failed;
    this.#pods = new Map();
    try {
      this.#pods = decode(file.read());
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

  /** What is not said stays as it is known. */
  add(uid: string, said: Partial<ProtectedPod> = {}): void {
    const before = this.#pods.get(uid);
    const pod = { ...(before ?? unknown), ...said };
    if (before !== undefined && isDeepStrictEqual(before, pod)) return;
    this.#pods.set(uid, pod);
    this.#keep();
  }

  delete(uid: string): void {
    if (this.#pods.delete(uid)) this.#keep();
  }

  #keep(): void {
    const pods = [...this.#pods].map(([uid, pod]) => ({ uid, ...pod }));
    try {
      this.#file.write(JSON.stringify({ version: VERSION, pods }));
    } catch (error) {
      this.#failed(error);
    }
  }
}

/** @throws when the file is not what was written: nothing in it is believed then. */
function decode(text: string | undefined): Map<string, ProtectedPod> {
  if (text === undefined) return new Map();
  const read: unknown = JSON.parse(text);
  const { version, pods } = read as Partial<Record<string, unknown>>;
  if (version !== VERSION || !Array.isArray(pods) || pods.length > MAX_PODS) throw new Error("not a list of pods");
  return new Map(
    pods.map((pod): [string, ProtectedPod] => {
      // An earlier release kept no addresses.
      const addresses: unknown = pod?.addresses ?? [];
      if (!isPodUid(pod?.uid) || !isWorkloadName(pod?.workload) || !isAddressList(addresses))
        throw new Error("not a list of pods");
      return [pod.uid, { workload: pod.workload, addresses }];
    }),
  );
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
    write: (text) => {
      const draft = `${path}.new`;
      const fd = openSync(draft, "w", 0o600);
      try {
        writeSync(fd, text);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(draft, path);
    },
  };
}
