// keeper · the index that was given to a pod last, kept where the next keeper finds it: so an index rests as long over a restart as without.
// After a reboot nobody remembers an index, and the file has gone with the run directory.
import { closeSync, constants, openSync, readFileSync, writeSync } from "node:fs";

export interface LastIndex {
  /** 0: none is known. */
  read(): number;
  write(podIdx: number): void;
}

const DIGITS = 4;

/** @param path in a directory in which nobody but the keeper's user may write */
export function lastIndexFile(path: string): LastIndex {
  return {
    read: () => {
      try {
        const text = readFileSync(path, "utf8");
        return /^\d{4}$/.test(text) ? Number(text) : 0;
      } catch {
        return 0; // An earlier release kept none.
      }
    },
    write: (podIdx) => {
      try {
        const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT, 0o600);
        try {
          // Always as long, in a single write and in place: a keeper that is killed leaves this number or the number before.
          writeSync(fd, String(podIdx).padStart(DIGITS, "0"), 0);
        } finally {
          closeSync(fd);
        }
      } catch {
        // A full disk keeps no pod out of the mesh: requests name the UID, so an index that rests too briefly is only refused.
      }
    },
  };
}
