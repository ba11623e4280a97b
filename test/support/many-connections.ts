// test support · many connections of one program at once, held open. Runs inside a namespace of its caller's choosing:
//   node many-connections.ts HOST PORT COUNT line|silent
// Says how many came up (with `line`: got an answer), then, once its input ends or all are gone, how they ended.
import net from "node:net";

export type ManyUp = { readonly event: "up"; readonly up: number; readonly failed: Readonly<Record<string, number>> };
export type ManyEnd = {
  readonly event: "end";
  /** Of those that were up, by how: "ended" is an orderly end. */
  readonly dead: Readonly<Record<string, number>>;
  readonly alive: number;
  /** Milliseconds since the epoch; 0: none died. */
  readonly lastDeathAt: number;
};

const [host = "", port = "0", count = "0", mode = "line"] = process.argv.slice(2);
/** A connection that neither came up nor ended by then counts as failed. */
const SETTLE_MS = 40_000;

const tell = (event: ManyUp | ManyEnd): void => void process.stdout.write(`${JSON.stringify(event)}\n`);
const failed: Record<string, number> = Object.create(null);
const dead: Record<string, number> = Object.create(null);
const alive = new Set<net.Socket>();
let lastDeathAt = 0;
let allSettled = false;

function open(): Promise<void> {
  return new Promise((resolve) => {
    let settled = false;
    const socket = net.connect({ host, port: Number(port) });
    const settle = (): void => {
      clearTimeout(timer);
      settled = true;
      resolve();
    };
    const up = (): void => {
      if (settled) return;
      alive.add(socket);
      settle();
    };
    const gone = (how: string): void => {
      if (alive.delete(socket)) {
        dead[how] = (dead[how] ?? 0) + 1;
        lastDeathAt = performance.timeOrigin + performance.now();
        if (allSettled && alive.size === 0) finish();
      } else if (!settled) {
        failed[how] = (failed[how] ?? 0) + 1;
        settle();
      }
      socket.destroy();
    };
    const timer = setTimeout(() => gone("timeout"), SETTLE_MS);
    socket.on("connect", () => (mode === "line" ? socket.write("hello\n") : up()));
    socket.on("data", up);
    socket.on("error", (error: NodeJS.ErrnoException) => gone(error.code ?? error.message));
    socket.on("end", () => gone("ended"));
    socket.on("close", () => gone("closed"));
  });
}

function finish(): void {
  tell({ event: "end", dead, alive: alive.size, lastDeathAt });
  process.exit(0);
}

process.stdin.on("end", finish);
process.stdin.resume();
await Promise.all(Array.from({ length: Number(count) }, open));
allSettled = true;
tell({ event: "up", up: alive.size, failed });
if (alive.size === 0) finish();
