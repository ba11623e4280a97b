// keeper · the pods that must refuse plaintext whenever they are there, until an agent says otherwise: kept on disk, so that the
// next keeper guards them before any agent is there, also after a reboot.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { isPodUid, isWorkloadName, MAX_PODS } from "./requests.ts";

const VERSION = 1;

/** Where the list is kept. */
export interface ProtectedPodsFile {
  /** Undefined: there is none. */
  read(): string | undefined;
  write(text: string): void;
}

export class ProtectedPods {
  readonly #workloads: Map<string, string>;
  readonly #file: ProtectedPodsFile;
  readonly #failed: (error: unknown) => void;

  /** @param failed hears why the list could not be kept; what is protected now stays protected */
  constructor(file: ProtectedPodsFile, failed: (error: unknown) => void) {
    this.#file = file;
    this.#failed = failed;
    this.#workloads = new Map();
    try {
      this.#workloads = decode(file.read());
    } catch (error) {
      failed(error);
    }
  }

  all(): readonly string[] {
    return [...this.#workloads.keys()];
  }

  has(uid: string): boolean {
    return this.#workloads.has(uid);
  }

  /** What the agent calls the pod; empty: it has not said. */
  workloadOf(uid: string): string {
    return this.#workloads.get(uid) ?? "";
  }

  /** Without `workload` the name that is known stays. */
  add(uid: string, workload: string = this.workloadOf(uid)): void {
    if (this.#workloads.get(uid) === workload) return;
    this.#workloads.set(uid, workload);
    this.#keep();
  }

  delete(uid: string): void {
    if (this.#workloads.delete(uid)) this.#keep();
  }

  #keep(): void {
    const pods = [...this.#workloads].map(([uid, workload]) => ({ uid, workload }));
    try {
      this.#file.write(JSON.stringify({ version: VERSION, pods }));
    } catch (error) {
      this.#failed(error);
    }
  }
}

/** @throws when the file is not what was written: nothing in it is believed then. */
function decode(text: string | undefined): Map<string, string> {
  if (text === undefined) return new Map();
  const read: unknown = JSON.parse(text);
  const { version, pods } = read as Partial<Record<string, unknown>>;
  if (version !== VERSION || !Array.isArray(pods) || pods.length > MAX_PODS) throw new Error("not a list of pods");
  return new Map(
    pods.map((pod): [string, string] => {
      if (!isPodUid(pod?.uid) || !isWorkloadName(pod?.workload)) throw new Error("not a list of pods");
      return [pod.uid, pod.workload];
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
