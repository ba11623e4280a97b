// test cluster · tells a process from a later one with its pid.
import { readFileSync } from "node:fs";

/** In clock ticks since the machine has started (proc(5), stat, field 22); empty: it has ended, or waits for its parent to know. */
export function startOf(pid: number | string): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name may hold spaces and brackets; the fields behind its last bracket do not.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
  } catch {
    return "";
  }
}
