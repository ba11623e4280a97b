// keeper · a pod's rule and routes go only after the last connection that needs them: the agent's sockets that speak to
// the application from a client's address, and those that the application's own connections meet. Seen in the kernel's own table of the pod's sockets. Pure but for the timer.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ORLOP_PORT_HBONE, ORLOP_PORT_INBOUND, ORLOP_PORT_OUTBOUND } from "../abi.ts";
import { bytes16ToIp, isLoopback } from "../mesh/ip.ts";

/** States of net/tcp_states.h as /proc/net/tcp writes them. */
const TIME_WAIT = "06";
const LISTEN = "0A";
const ourPorts = [ORLOP_PORT_OUTBOUND, ORLOP_PORT_INBOUND, ORLOP_PORT_HBONE];

/** An address of /proc/net/tcp{,6}: words of 32 bits, each written as this (little-endian) machine holds it. */
function addressOf(hex: string): string {
  const bytes = new Uint8Array(16);
  if (hex.length === 8) bytes.set([0xff, 0xff], 10);
  const words = Buffer.from(hex, "hex");
  for (let word = 0; word < words.length; word += 4) words.subarray(word, word + 4).reverse();
  bytes.set(words, 16 - words.length);
  return bytes16ToIp(bytes, 0);
}

/**
 * Does an agent still use the pod? A listener or connection of it is on a port of ours, or a socket lives whose own
 * address is not the pod's, as only those have that speak for a client. `table`: the text of /proc/<pid>/net/tcp or tcp6.
 */
export function agentStillThere(
  table: string,
  podAddresses: ReadonlySet<string>,
  options: { readonly tunnelsCount: boolean },
): boolean {
  return table.split("\n").some((line) => {
    const [, local = "", , state = ""] = line.trim().split(/\s+/);
    const [, hex, port] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local) ?? [];
    if (hex === undefined || port === undefined || state === TIME_WAIT) return false;
    // A captured connection, which may have met us at an address that only our route makes local.
    if (Number.parseInt(port, 16) === ORLOP_PORT_OUTBOUND) return true;
    // A listener, what waits at it, and a tunnel on which requests for the application may still come.
    if (ourPorts.includes(Number.parseInt(port, 16))) return state === LISTEN || options.tunnelsCount;
    if (state === LISTEN) return false;
    const address = addressOf(hex);
    return !isLoopback(address) && !podAddresses.has(address);
  });
}

export type Leaving = {
  readonly proc: string;
  /** A process that lives in the namespace; when it has gone, the namespace is dying and nothing need be undone. */
  readonly pid: number;
  readonly podAddresses: ReadonlySet<string>;
};

const FIRST_LOOK_MS = 25;
const SLOWEST_LOOK_MS = 5_000;
/** By then every other node has heard that the pod left, and sends nothing new over a tunnel that idles on. */
const TUNNELS_COUNT_MS = 2_000;

/** Resolves to true when the agent has left, to false when the process has gone or `signal` says to stop waiting. */
export async function untilAgentLeft({ proc, pid, podAddresses }: Leaving, signal: AbortSignal): Promise<boolean> {
  let waited = 0;
  for (let wait = FIRST_LOOK_MS; !signal.aborted; wait = Math.min(SLOWEST_LOOK_MS, wait * 1.25)) {
    const options = { tunnelsCount: waited < TUNNELS_COUNT_MS };
    waited += wait;
    try {
      const tables: string[] = [];
      // Not the keeper's own thread: the kernel goes through the sockets of all the node for it.
      for (const name of ["tcp", "tcp6"]) tables.push(await readFile(join(proc, String(pid), "net", name), "utf8"));
      // The pod may have come back while the tables were read.
      if (!tables.some((table) => agentStillThere(table, podAddresses, options))) return !signal.aborted;
    } catch {
      return false; // The process ended; another of the pod's may live, but nobody is known to.
    }
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, wait);
      signal.addEventListener("abort", done);
    });
  }
  return false;
}
