// bench · how much memory processes take.
import { readFileSync } from "node:fs";

/** Megabytes resident, of all the processes together. Throws when one has ended. */
export function residentMb(pids: readonly number[]): number {
  let kb = 0;
  for (const pid of pids) {
    const line = /^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
    if (line === null) throw new Error(`/proc/${pid}/smaps_rollup does not tell its size`);
    kb += Number(line[1]);
  }
  return kb / 1024;
}
