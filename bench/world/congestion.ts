// bench · the congestion control of a run: Linux's own default on every side, whatever the machine is set to.
import { readFileSync, writeFileSync } from "node:fs";

const WANTED = "cubic";
const AVAILABLE = "/proc/sys/net/ipv4/tcp_available_congestion_control";
const ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

export type Choice = {
  readonly name: string;
  /** The list to write before namespaces may use it; undefined: they may. */
  readonly allow?: string;
};

/**
 * A network namespace may only take what the machine allows (ip-sysctl, tcp_allowed_congestion_control). Both arguments are
 * such lists, separated by spaces. reno, which every kernel has and allows, where cubic is not to be had. Pure.
 */
export function chooseCongestionControl(available: string, allowed: string): Choice {
  if (allowed.split(/\s+/).includes(WANTED)) return { name: WANTED };
  if (!available.split(/\s+/).includes(WANTED)) return { name: "reno" };
  return { name: WANTED, allow: `${allowed.trim()} ${WANTED}` };
}

export type CongestionControl = { readonly name: string; restore(): void };

/** Allows cubic for this run where the machine has it; `restore`, or this process's exit, puts the list back. */
export function takeCongestionControl(): CongestionControl {
  const allowed = readFileSync(ALLOWED, "utf8");
  const { name, allow } = chooseCongestionControl(readFileSync(AVAILABLE, "utf8"), allowed);
  if (allow === undefined) return { name, restore: () => {} };
  try {
    writeFileSync(ALLOWED, allow);
  } catch {
    // /proc/sys is read-only in many containers.
    return { name: "reno", restore: () => {} };
  }
  const restore = (): void => {
    process.removeListener("exit", restore);
    writeFileSync(ALLOWED, allowed);
  };
  process.on("exit", restore);
  return { name, restore };
}
