// test model · native/watch.c, driven: what pods said in the clear on the wire of their node.
import type { Host } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";

/** own: a call of the pod's that nobody captured; answer: plaintext of a connection to it; odd: neither TCP nor ICMP. */
export type InClear = {
  readonly kind: "own" | "answer" | "odd";
  readonly name: string;
  readonly firstUs: number;
  readonly lastUs: number;
  readonly packets: number;
  readonly bytes: number;
};

export type WatchOptions = {
  readonly interface: string;
  readonly far: { readonly ip4: string; readonly ip6: string };
  readonly pods: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly heard: (seen: InClear) => void;
};

const isKind = (word: string | undefined): word is InClear["kind"] =>
  word === "own" || word === "answer" || word === "odd";

export class WireWatch {
  readonly #running: Running;
  /** What came until then was looked at, and heard of: microseconds since the epoch. */
  readUntilUs = 0;
  /** Rejects when the program ends or when it missed a packet. */
  readonly ended: Promise<void>;

  static async start(wire: Pick<Host, "start">, program: string, options: WatchOptions): Promise<WireWatch> {
    const pods = options.pods.flatMap(({ name, addresses }) => addresses.map((address) => `${name}=${address}`));
    const running = wire.start([program, options.interface, options.far.ip4, options.far.ip6, ...pods]);
    await running.line(10_000, (line) => line === "watching");
    return new WireWatch(running, options.heard);
  }

  private constructor(running: Running, heard: (seen: InClear) => void) {
    this.#running = running;
    this.ended = this.#listen(heard);
    this.ended.catch(() => {});
  }

  stop(): void {
    this.#running.kill("SIGKILL");
  }

  async #listen(heard: (seen: InClear) => void): Promise<void> {
    for (;;) {
      const [kind, name = "", first, last, packets, bytes] = (await this.#running.line(3_600_000)).split(" ");
      if (kind === "read") {
        this.readUntilUs = Number(name);
        continue;
      }
      if (!isKind(kind)) throw new Error(`the wire was not seen whole: ${kind} ${name}`);
      heard({
        kind,
        name,
        firstUs: Number(first),
        lastUs: Number(last),
        packets: Number(packets),
        bytes: Number(bytes),
      });
    }
  }
}
