// bench · what answers calls of gRPC in a pod: a file for the method's path, and trailers behind it; or each message by itself.
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Pod } from "../../test/box/cluster.ts";
import type { Running } from "../../test/box/process.ts";
import { installed, ownProgram } from "../world/programs.ts";
import { CALLS_PORT } from "../world/world.ts";
import { listening } from "./side.ts";

const METHOD = "bench.Echo/Unary";
export const CALLS_PATH = `/${METHOD}`;
export const REPLY_BYTES = 1_019;

/** One message, as gRPC frames it: not compressed, its length, its bytes (grpc:doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message). */
export function message(bytes: number): Buffer {
  const framed = Buffer.alloc(5 + bytes, "x");
  framed[0] = 0;
  framed.writeUInt32BE(bytes, 1);
  return framed;
}

/** Calls with a message each way, or with messages in both directions until their caller ends them (load/calls_serve.c). */
export type CallsOf = "unary" | "streams";

/** Serves at CALLS_PORT once this resolves. @param folder is filled with what is served */
export async function startCallee(pod: Pod, folder: string, calls: CallsOf): Promise<Running> {
  if (calls === "streams") {
    const callee = pod.start([ownProgram("calls"), "serve", "0.0.0.0", String(CALLS_PORT)]);
    await callee.line(10_000, (line) => line === "ready");
    return callee;
  }
  const file = path.join(folder, METHOD);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, message(REPLY_BYTES));
  const argv = [installed("nghttpd"), "--no-tls", "-d", folder, "--trailer", "grpc-status: 0", String(CALLS_PORT)];
  const callee = pod.start(argv);
  await listening(pod, CALLS_PORT, callee);
  return callee;
}
