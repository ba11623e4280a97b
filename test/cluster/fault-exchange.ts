// test cluster · one answer of an API server on its way through the fault proxy.
import { type ClientHttp2Stream, constants, type ServerHttp2Stream } from "node:http2";
import { cutPoint, expiredLine, type Fault, isInLine, lineEnd, pass } from "./fault.ts";

/** What becomes of a fault: it is counted when it has happened, not when it was ordered. */
type Done = (fault: Fault) => void;

export class FaultExchange {
  readonly #client: ServerHttp2Stream;
  readonly #done: Done;
  #fault: Fault;
  /** The head of the answer has gone to the client. */
  #hasBegun = false;
  /** Monotonic, ms: when a stall or a trickle is over. Infinite before it has begun. */
  #untilMs = Number.POSITIVE_INFINITY;
  #passedSince = 0;
  #last: number | undefined;
  #isPassing = false;
  #isOver = false;
  #wake: () => void = () => {};

  constructor(client: ServerHttp2Stream, fault: Fault, done: Done) {
    this.#client = client;
    this.#fault = fault;
    this.#done = done;
    client.once("close", () => this.#end());
  }

  /** Replaces the fault of this answer. What waits for the fault before it goes on. */
  strike(fault: Fault): void {
    this.#fault = fault;
    this.#passedSince = 0;
    this.#untilMs = Number.POSITIVE_INFINITY;
    this.#wake();
    this.#expireIfQuiet();
  }

  /** Resolves when the answer has ended, at the server or by a fault. Its head has gone to the client. */
  async relay(server: ClientHttp2Stream): Promise<void> {
    this.#hasBegun = true;
    this.#expireIfQuiet();
    try {
      for await (const chunk of server) {
        this.#isPassing = true;
        await this.#pass(chunk as Uint8Array);
        this.#isPassing = false;
        if (this.#isOver) return;
      }
      const code = server.rstCode ?? constants.NGHTTP2_NO_ERROR;
      if (code === constants.NGHTTP2_NO_ERROR) this.#client.end();
      else this.#client.close(code);
    } catch {
      // The server or its connection went away in the middle, and so does the answer.
      if (!this.#isOver) this.#client.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  async #pass(chunk: Uint8Array): Promise<void> {
    let rest = chunk;
    while (!this.#isOver) {
      const fault = this.#fault;
      if (fault.kind === "cut") {
        const at = cutPoint(rest, fault.afterBytes - this.#passedSince, this.#last);
        await this.#write(rest.subarray(0, at));
        if (at !== undefined) this.#cut(fault);
        return;
      }
      if (fault.kind === "expire") {
        const at = lineEnd(rest, this.#last);
        await this.#write(rest.subarray(0, at));
        if (at !== undefined) this.#expire();
        return;
      }
      if (rest.length === 0) return;
      const length = await this.#slowly(fault, rest.length);
      await this.#write(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  }

  /** How many of the bytes may pass now. Waits for as long as the fault makes them wait. */
  async #slowly(fault: Fault, bytes: number): Promise<number> {
    if (fault.kind === "stall") {
      const before = Math.max(0, fault.afterBytes - this.#passedSince);
      if (before > 0) return Math.min(before, bytes);
      this.#done(fault);
      await this.#wait(fault.forMs);
      if (this.#fault === fault) this.#fault = pass;
      return 0;
    }
    if (fault.kind !== "trickle") return bytes;
    const nowMs = performance.now();
    if (this.#untilMs === Number.POSITIVE_INFINITY) {
      this.#untilMs = nowMs + fault.forMs;
      this.#done(fault);
    }
    await this.#wait(fault.everyMs);
    if (nowMs >= this.#untilMs && this.#fault === fault) this.#fault = pass;
    return Math.min(fault.bytes, bytes);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0 || this.#isOver) return;
    this.#last = bytes.at(-1);
    this.#passedSince += bytes.length;
    if (this.#client.write(bytes)) return;
    await new Promise<void>((resolve) => {
      for (const event of ["drain", "close"]) this.#client.once(event, resolve);
    });
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #cut(fault: Extract<Fault, { readonly kind: "cut" }>): void {
    this.#done(fault);
    if (fault.how === "end") this.#client.end();
    else if (fault.how === "reset") this.#client.close(constants.NGHTTP2_INTERNAL_ERROR);
    else this.#client.session?.destroy();
    this.#end();
  }

  /** A quiet watch would bring the end of a line only with its next event. */
  #expireIfQuiet(): void {
    const isQuiet = this.#hasBegun && !this.#isPassing && !this.#isOver && !isInLine(this.#last);
    if (this.#fault.kind === "expire" && isQuiet) this.#expire();
  }

  #expire(): void {
    this.#done(this.#fault);
    this.#client.end(expiredLine);
    this.#end();
  }

  #end(): void {
    this.#isOver = true;
    this.#wake();
  }
}
