// test model · native/probe.c, driven: who answered in plaintext and when, and how many attempts were made since a mark.
import type { Host } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";

export type Target = {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** Attempts. */
  readonly perSecond: number;
};
export type Answered = { readonly name: string; readonly beganUs: number; readonly endedUs: number };
/** Attempts that began after the last mark, by how they ended. */
export type Tally = {
  readonly refused: number;
  readonly closed: number;
  readonly unreached: number;
  readonly answered: number;
};

const none: Tally = { refused: 0, closed: 0, unreached: 0, answered: 0 };

export class Prober {
  readonly #running: Running;
  readonly #targets: readonly Target[];
  readonly #heard: (answered: Answered) => void;
  readonly #tallies = new Map<string, Tally>();
  /** Of earlier generations, and this one's. */
  #refusedBefore = 0;
  #generation = 0;
  #older: number | undefined;
  #wakers: (() => void)[] = [];
  readonly finished: Promise<void>;

  constructor(
    from: Pick<Host, "start">,
    program: string,
    options: {
      readonly targets: readonly Target[];
      readonly heard: (answered: Answered) => void;
      /** How long an attempt that has connected waits for an answer, whole seconds. Default 1. */
      readonly patienceS?: number;
    },
  ) {
    this.#targets = options.targets;
    this.#heard = options.heard;
    const targets = options.targets.map(
      ({ name, address, port, perSecond }) => `${name}=${address}/${port}/${perSecond}`,
    );
    this.#running = from.start([program, String(options.patienceS ?? 1), ...targets]);
    this.finished = this.#listen();
    this.finished.catch(() => {});
  }

  /** Attempts that began before no longer count in `tally`. */
  mark(): void {
    this.#refusedBefore = this.refused;
    this.#tallies.clear();
    this.#generation += 1;
    this.#older = undefined;
    this.#running.write(`mark ${this.#generation}\n`);
  }

  tally(name: string): Tally {
    return this.#tallies.get(name) ?? none;
  }

  get refused(): number {
    return [...this.#tallies.values()].reduce((sum, { refused }) => sum + refused, this.#refusedBefore);
  }

  /** Attempts since the last mark, at all targets, that were refused or ended without an answer; those that reached nobody are none. */
  get failed(): number {
    return [...this.#tallies.values()].reduce((sum, { refused, closed }) => sum + refused + closed, 0);
  }

  /** The same, and those of which nothing was heard. */
  get unanswered(): number {
    return [...this.#tallies.values()].reduce((sum, { unreached }) => sum + unreached, this.failed);
  }

  get answered(): number {
    return [...this.#tallies.values()].reduce((sum, { answered }) => sum + answered, 0);
  }

  /** Attempts that began before the last mark and have not ended; undefined: nothing was heard since. */
  get older(): number | undefined {
    return this.#older;
  }

  text(): string {
    return this.names.map((name) => `${name} ${JSON.stringify(this.tally(name))}`).join(", ");
  }

  get names(): readonly string[] {
    return this.#targets.map(({ name }) => name);
  }

  /** Resolves with the next news of it, or after `ms`. */
  news(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakers.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  stop(): void {
    this.#running.kill("SIGKILL");
  }

  async #listen(): Promise<void> {
    for (;;) {
      const words = (await this.#running.line(3_600_000)).split(" ");
      const [what, ...rest] = words;
      if (what === "answered") {
        const [name = "", began, ended] = rest;
        this.#heard({ name, beganUs: Number(began), endedUs: Number(ended) });
      } else if (what === "tally" && Number(rest[0]) === this.#generation) {
        const [, name = "", refused, closed, unreached, answered] = rest;
        this.#tallies.set(name, {
          refused: Number(refused),
          closed: Number(closed),
          unreached: Number(unreached),
          answered: Number(answered),
        });
      } else if (what === "older" && Number(rest[0]) === this.#generation) this.#older = Number(rest[1]);
      const wakers = this.#wakers;
      this.#wakers = [];
      for (const wake of wakers) wake();
    }
  }
}
