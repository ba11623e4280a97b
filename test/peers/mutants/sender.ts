// test peers · sends mutants, each over a connection of its own, and sends FIN behind the mutant: a reader that wants more bytes than the
// mutant has gets an end instead, so nobody waits. It resets the connection once the other side has ended, too.
//   node sender.ts SEED FROM COUNT HOST PORT…          mutant n goes to port n modulo their number
//   node sender.ts SEED FROM COUNT HOST PORT… --each   every mutant goes to each port
import net from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { mutantOf } from "./mutant.ts";

/** In flight at once. */
const AT_ONCE = 48;
/** A connection on which nothing has moved for this long is listed as late, and fails the run. */
const LATE_MS = 60_000;

export type Sent = {
  readonly sent: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** Numbers of mutants whose connection did not end. */
  readonly late: readonly number[];
};

const words = process.argv.slice(2).filter((word) => word !== "--each");
const [seed = 0, from = 0, count = 0] = words.slice(0, 3).map(Number);
const [host = "", ...ports] = words.slice(3);
const isEach = process.argv.includes("--each");
const late: number[] = [];
const statuses: Record<string, number> = {};
const heard = (what: string): void => {
  statuses[what] = (statuses[what] ?? 0) + 1;
};

async function send(id: number, port: string): Promise<void> {
  const { bytes, cuts } = mutantOf(seed, id);
  const socket = net.connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true });
  const ended = new Promise<void>((resolve) => {
    socket.setTimeout(LATE_MS, () => {
      heard("late");
      late.push(id);
      socket.resetAndDestroy();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => heard(error.code ?? error.message));
    socket.on("data", (data) => {
      for (const [, status = ""] of data.toString("latin1").matchAll(/HTTP\/1\.[01] (\d{3}) /g)) heard(status);
    });
    socket.on("end", () => socket.resetAndDestroy());
    socket.on("close", () => resolve());
  });
  let at = 0;
  for (const cut of cuts) {
    socket.write(bytes.subarray(at, cut));
    at = cut;
    // The other connections get a few turns meanwhile, so the reader sees the pieces apart.
    for (let turns = 0; turns < 5; turns++) await turn();
  }
  socket.end(bytes.subarray(at));
  await ended;
}

let next = from;
const worker = async (): Promise<void> => {
  while (next < from + count) {
    const id = next++;
    if (isEach) for (const port of ports) await send(id, port);
    else await send(id, ports[id % ports.length] ?? "0");
  }
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));
console.log(JSON.stringify({ sent: count, statuses, late } satisfies Sent));
