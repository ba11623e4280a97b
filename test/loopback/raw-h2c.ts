// tests · a caller that speaks HTTP/2 without TLS frame by frame, as rudely as a test asks.
import type net from "node:net";
import { FrameReader, frame, frameTypes, literal, preface } from "../support/h2-frames.ts";
import { dial } from "./support.ts";

export type Frame = ReturnType<FrameReader["push"]>[number];

/** Fields of a request without a body; a value of null leaves one out. */
export function headOf(fields: Readonly<Record<string, string | null>>): Buffer {
  const usual = { ":method": "GET", ":scheme": "http", ":authority": "app", ":path": "/" };
  const pairs = Object.entries({ ...usual, ...fields });
  return Buffer.concat(pairs.flatMap(([name, value]) => (value === null ? [] : [literal(name, value)])));
}

export class RawCaller {
  readonly socket: net.Socket;
  readonly frames: Frame[] = [];
  /** "end", or the error's code. */
  readonly ended: Promise<string>;
  readonly #reader = new FrameReader();

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (bytes) => this.frames.push(...this.#reader.push(bytes)));
    this.ended = new Promise((resolve) => {
      socket.on("end", () => resolve("end"));
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.on("close", () => resolve("end"));
    });
  }

  /** Preface and SETTINGS are sent, unless the test says otherwise. */
  static async open(port: number, first: Buffer = Buffer.concat([preface, frame(frameTypes.settings, 0, 0)])) {
    const caller = new RawCaller(await dial(port));
    caller.socket.write(first);
    return caller;
  }

  /** The first frame that fits, past or future; undefined: the connection has ended without. */
  async frame(fits: (frame: Frame) => boolean): Promise<Frame | undefined> {
    for (let seen = 0, isOver = false; ; ) {
      for (; seen < this.frames.length; seen++) {
        const found = this.frames[seen];
        if (found !== undefined && fits(found)) return found;
      }
      if (isOver) return undefined;
      const more = new Promise<void>((resolve) => this.socket.once("data", () => resolve()));
      await Promise.race([more, this.ended.then(() => (isOver = true))]);
    }
  }

  /** The code of the first RST_STREAM of this stream, or of a GOAWAY. */
  async code(type: "rstStream" | "goaway", stream = 0): Promise<number | undefined> {
    const found = await this.frame((each) => each.type === frameTypes[type] && each.stream === stream);
    return found?.payload.readUInt32BE(type === "goaway" ? 4 : 0);
  }
}
