// demo · a client in a pod, played by http-caller.ts: one connection, a request at a time.
import { fileURLToPath } from "node:url";
import type { Host } from "../../test/box/cluster.ts";
import type { Running } from "../../test/box/process.ts";
import type { Target } from "./client.ts";
import type { Asked, Heard } from "./http-caller.ts";

const caller = fileURLToPath(new URL("./http-caller.ts", import.meta.url));
/** Until the first answer: the program has to start. */
const ANSWER_MS = 60_000;

/** A client with one connection, which it keeps. */
export class Client {
  readonly #running: Running;

  constructor(from: Host, { host, port }: Target) {
    this.#running = from.start([process.execPath, caller, host, String(port)]);
  }

  async ask(method: string, path: string, more: Asked["headers"] = {}): Promise<Heard> {
    const headers = { "x-forwarded-client-cert": "URI=spiffe://cluster.local/admin", ...more };
    const asked: Asked = { method, path, headers };
    this.#running.write(`${JSON.stringify(asked)}\n`);
    return JSON.parse(await this.#running.line(ANSWER_MS, (line) => line.startsWith("{"))) as Heard;
  }

  end(): void {
    this.#running.endInput();
  }
}
