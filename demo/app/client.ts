// demo · the calling side of the demo's application. Each role prints its findings as lines of JSON.
import net from "node:net";
import type { EchoReply } from "./server.ts";
import { endpoint, type Received, receive, sendStream, type TransferRequest } from "./stream.ts";

export type Target = { readonly host: string; readonly port: number };

/** `error` is the code of a failed call (ECONNREFUSED, ECONNRESET, EPERM, …), `timeout`, or `ended` before an answer. */
export type CallResult = {
  readonly error?: string;
  /** What the client sees of its own connection: getpeername and getsockname. */
  readonly remote?: string;
  readonly local?: string;
  readonly reply?: EchoReply;
  readonly ms: number;
};
export type GreetResult = { readonly error?: string; readonly greeting?: string; readonly ms: number };
export type TransferResult = {
  readonly error?: string;
  readonly client?: Received;
  readonly server?: Received;
  readonly ms: number;
};
export type ChurnResult = {
  readonly attempted: number;
  readonly answered: number;
  /** Refused at connect: the one thing a restart must never cause. */
  readonly refused: number;
  /** Opened, then reset or ended without the answer: cut in flight. */
  readonly cut: number;
  /** When the first 1,000 of those began, in milliseconds since the epoch. */
  readonly cutBegan: readonly number[];
  /** How long after its begin, ms; as many. */
  readonly cutAfterMs: readonly number[];
  readonly timedOut: number;
  readonly other: Readonly<Record<string, number>>;
  /** Longest time from connect to answer, in milliseconds. */
  readonly slowestMs: number;
};
/** First an `up`, then (when the connection dies) `dead`, and at the end of its input `summary`. */
export type PingEvent =
  | { readonly event: "up"; readonly remote: string }
  | { readonly event: "dead"; readonly how: string; readonly atMs: number; readonly replies: number }
  | { readonly event: "summary"; readonly replies: number; readonly longestGapMs: number; readonly alive: boolean };

/** Runs `operation` with a connected socket, or fails with a code. The socket is always destroyed in the end. */
async function withSocket<T>(
  target: Target,
  timeoutMs: number,
  operation: (socket: net.Socket) => Promise<T>,
): Promise<T> {
  const socket = net.connect({ ...target, noDelay: true, allowHalfOpen: true });
  let timer: NodeJS.Timeout | undefined;
  try {
    const failed = new Promise<never>((_, reject) => {
      socket.on("error", (error: NodeJS.ErrnoException) => reject(new Error(error.code ?? error.message)));
      timer = setTimeout(() => reject(new Error("timeout")), timeoutMs);
    });
    const done = (async () => {
      await new Promise<void>((resolve) => socket.once("connect", resolve));
      return operation(socket);
    })();
    // When the race is lost its loser may still fail; that failure is already reported by the winner.
    done.catch(() => {});
    failed.catch(() => {});
    return await Promise.race([done, failed]);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

const codeOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const since = (start: number): number => Math.round((performance.now() - start) * 10) / 10;

function firstLine(socket: net.Socket): Promise<string> {
  let text = "";
  return new Promise((resolve, reject) => {
    socket.on("data", (data: Buffer) => {
      text += data.toString();
      const end = text.indexOf("\n");
      if (end >= 0) resolve(text.slice(0, end).trimEnd());
    });
    socket.on("end", () => reject(new Error("ended")));
    socket.on("close", () => reject(new Error("ended")));
  });
}

export async function call(target: Target, said: string, timeoutMs: number): Promise<CallResult> {
  const start = performance.now();
  try {
    return await withSocket(target, timeoutMs, async (socket) => {
      const remote = endpoint(socket.remoteAddress, socket.remotePort);
      const local = endpoint(socket.localAddress, socket.localPort);
      socket.write(`${said}\n`);
      return { remote, local, reply: JSON.parse(await firstLine(socket)) as EchoReply, ms: since(start) };
    });
  } catch (error) {
    return { error: codeOf(error), ms: since(start) };
  }
}

export async function greet(target: Target, timeoutMs: number): Promise<GreetResult> {
  const start = performance.now();
  try {
    return await withSocket(target, timeoutMs, async (socket) => ({
      greeting: await firstLine(socket),
      ms: since(start),
    }));
  } catch (error) {
    return { error: codeOf(error), ms: since(start) };
  }
}

export async function transfer(
  target: Target,
  bytes: number,
  serverDelayMs: number,
  timeoutMs: number,
): Promise<TransferResult> {
  const start = performance.now();
  const request: TransferRequest = { bytes, clientSeed: 1, serverSeed: 2, serverDelayMs };
  try {
    return await withSocket(target, timeoutMs, async (socket) => {
      socket.write(`${JSON.stringify(request)}\n`);
      const [, client] = await Promise.all([
        sendStream(socket, bytes, request.clientSeed).then(() => socket.end()),
        receive(socket, bytes, 0, false),
      ]);
      // The server answers only after our end of stream reached it: half-close works, or this never comes.
      const report = firstLine(socket);
      socket.resume();
      return { client, server: JSON.parse(await report) as Received, ms: since(start) };
    });
  } catch (error) {
    return { error: codeOf(error), ms: since(start) };
  }
}

/** Opens, says something, hears something, closes; `parallel` at a time, each after `pauseMs`, until `stop` is aborted. */
export async function churn(
  target: Target,
  options: { readonly parallel: number; readonly pauseMs: number; readonly timeoutMs: number; readonly said: string },
  stop: AbortSignal,
): Promise<ChurnResult> {
  const counts = { attempted: 0, answered: 0, refused: 0, cut: 0, timedOut: 0, slowestMs: 0 };
  const cutBegan: number[] = [];
  const cutAfterMs: number[] = [];
  const other: Record<string, number> = Object.create(null);
  const caller = async (): Promise<void> => {
    while (!stop.aborted) {
      const start = performance.now();
      let opened = false;
      counts.attempted += 1;
      try {
        await withSocket(target, options.timeoutMs, async (socket) => {
          opened = true;
          socket.write(options.said);
          await new Promise<void>((resolve, reject) => {
            socket.once("data", () => resolve());
            socket.once("end", () => reject(new Error("ended")));
            socket.once("close", () => reject(new Error("ended")));
          });
        });
        counts.answered += 1;
        counts.slowestMs = Math.max(counts.slowestMs, since(start));
      } catch (error) {
        const code = codeOf(error);
        // ECONNABORTED: the keeper had the kernel end the connection (sock_diag(7), SOCK_DESTROY), because it is judged otherwise now.
        if (code === "timeout") counts.timedOut += 1;
        else if (opened && ["ended", "ECONNRESET", "EPIPE", "ECONNABORTED"].includes(code)) {
          counts.cut += 1;
          if (cutBegan.length < 1_000) {
            cutBegan.push(performance.timeOrigin + start);
            cutAfterMs.push(since(start));
          }
        } else if (!opened && ["ECONNREFUSED", "ECONNRESET", "EPERM", "ECONNABORTED"].includes(code))
          counts.refused += 1;
        else other[code] = (other[code] ?? 0) + 1;
      }
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs));
    }
  };
  await Promise.all(Array.from({ length: options.parallel }, caller));
  return { ...counts, cutBegan, cutAfterMs, other };
}

/** One connection that lives: a line every `intervalMs`. Ends when `stop` is aborted or the connection dies. */
export async function ping(
  target: Target,
  options: { readonly intervalMs: number; readonly said: string },
  stop: AbortSignal,
  tell: (event: PingEvent) => void,
): Promise<void> {
  const socket = net.connect({ ...target, noDelay: true });
  let replies = 0;
  let last = performance.now();
  let longestGapMs = 0;
  let how: string | undefined;
  const dead = new Promise<void>((resolve) => {
    const die = (cause: string): void => {
      how ??= cause;
      resolve();
    };
    socket.on("error", (error: NodeJS.ErrnoException) => die(error.code ?? error.message));
    socket.on("end", () => die("ended"));
    socket.on("close", () => die("closed"));
  });
  const stopped = new Promise<void>((resolve) => stop.addEventListener("abort", () => resolve(), { once: true }));
  socket.on("data", (data: Buffer) => {
    const now = performance.now();
    const before = replies;
    for (const byte of data) if (byte === 10) replies += 1;
    // The first data may bring several answers at once.
    if (before === 0 && replies > 0) tell({ event: "up", remote: endpoint(socket.remoteAddress, socket.remotePort) });
    longestGapMs = Math.max(longestGapMs, now - last);
    last = now;
  });
  const timer = setInterval(() => socket.write(`${options.said}\n`), options.intervalMs);
  socket.write(`${options.said}\n`);
  await Promise.race([dead, stopped]);
  clearInterval(timer);
  if (how !== undefined) tell({ event: "dead", how, atMs: performance.timeOrigin + performance.now(), replies });
  else tell({ event: "summary", replies, longestGapMs: Math.round(longestGapMs), alive: true });
  socket.destroy();
}
