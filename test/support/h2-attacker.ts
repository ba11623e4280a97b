// test support · sends attacks at :15008 over mutual TLS and says how each connection ended. Runs as a program, inside a
// namespace of its own choosing: one JSON request on its input, one JSON answer on its output.
import { text } from "node:stream/consumers";
import { connect } from "node:tls";
import { floods, harmless, malformed, opening, passedOver } from "./h2-attacks.ts";
import { ACK, FrameReader, frameTypes } from "./h2-frames.ts";

export type AttackRequest = {
  readonly host: string;
  readonly port: number;
  readonly cert: string;
  readonly key: string;
  readonly authority: string;
  readonly attacks: readonly string[];
  /** Connections at once, for each attack. */
  readonly parallel: number;
  /** An attack that has not ended the connection by then is reported as `ended: false`. */
  readonly deadlineMs: number;
};
export type AttackResult = {
  readonly name: string;
  /** Of all its connections. */
  readonly ended: boolean;
  readonly sentBytes: number;
  readonly goaway: readonly number[];
  /** PING answers seen: the sign that the connection went on. */
  readonly pongs: number;
  readonly longestMs: number;
};

const request = JSON.parse(await text(process.stdin)) as AttackRequest;
const all = [...malformed, ...passedOver, ...floods, ...harmless];

async function one(
  name: string,
): Promise<{ ended: boolean; sentBytes: number; goaway: number[]; pongs: number; ms: number }> {
  const attack = all.find((candidate) => candidate.name === name);
  if (attack === undefined) throw new Error(`no attack ${name}`);
  const start = performance.now();
  const { host, port, cert, key } = request;
  const socket = connect({
    host,
    port,
    cert,
    key,
    ALPNProtocols: ["h2"],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
  });
  const seen = { ended: false, sentBytes: 0, goaway: [] as number[], pongs: 0 };
  const reader = new FrameReader();
  const over = new Promise<void>((resolve) => {
    const end = (): void => {
      seen.ended = true;
      resolve();
    };
    socket.on("error", end);
    socket.on("close", end);
    socket.on("end", end);
    setTimeout(resolve, request.deadlineMs).unref();
  });
  socket.on("data", (data: Buffer) => {
    for (const { type, flags, payload } of reader.push(data)) {
      if (type === frameTypes.goaway && payload.length >= 8) seen.goaway.push(payload.readUInt32BE(4));
      if (type === frameTypes.ping && (flags & ACK) !== 0) seen.pongs += 1;
    }
  });
  const send = (bytes: Buffer): Promise<void> =>
    new Promise((resolve) => {
      seen.sentBytes += bytes.length;
      socket.write(bytes, () => resolve());
    });
  await Promise.race([new Promise<void>((resolve) => socket.once("secureConnect", resolve)), over]);
  const attackLoop = async (): Promise<void> => {
    await send(opening(name));
    for (let turn = 0; !seen.ended && !socket.destroyed; turn += 1) {
      await send(attack.bytes(turn, request.authority));
      if (!attack.endless) return;
    }
  };
  await Promise.race([attackLoop(), over]);
  await over;
  socket.destroy();
  return { ...seen, ms: performance.now() - start };
}

const results: AttackResult[] = [];
for (const name of request.attacks) {
  const runs = await Promise.all(Array.from({ length: request.parallel }, () => one(name)));
  results.push({
    name,
    ended: runs.every((run) => run.ended),
    sentBytes: runs.reduce((sum, run) => sum + run.sentBytes, 0),
    goaway: [...new Set(runs.flatMap((run) => run.goaway))],
    pongs: runs.reduce((sum, run) => sum + run.pongs, 0),
    longestMs: Math.round(Math.max(...runs.map((run) => run.ms))),
  });
}
process.stdout.write(`${JSON.stringify(results)}\n`);
process.exit(0);
