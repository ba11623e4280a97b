// test model · the host outside knocks at every address of every pod in plaintext; steps wait for what comes of it.
import type { Host } from "../box/cluster.ts";
import { type PodName, podNames } from "./mesh.ts";
import type { ModelPod } from "./pod.ts";
import { type Answered, Prober } from "./prober.ts";

export const APP_PORT = 8_080;
const HBONE_PORT = 15_008;
/** Attempts a second at each address of each pod. */
const PER_SECOND = 200;
/** At the tunnel's port. */
const HBONE_PER_SECOND = 20;

/** Attempts at an address since the last mark. */
export type Knocked = {
  readonly answered: number;
  /** Refused, or ended without an answer. */
  readonly failed: number;
  readonly all: number;
  /** It is the first address of its pod. */
  readonly first: boolean;
};

export class Knocks {
  readonly #prober: Prober;
  readonly #firsts: ReadonlySet<string>;

  constructor(
    outside: Pick<Host, "start">,
    program: string,
    options: { readonly pods: readonly ModelPod[]; readonly heard: (answered: Answered) => void },
  ) {
    const target = (name: string, address: string, port: number, perSecond: number) => ({
      name: `${name}/${address}/${port}`,
      address,
      port,
      perSecond,
    });
    const targets = options.pods.flatMap(({ name, addresses, ip4 }) => [
      ...addresses.map((address) => target(name, address, APP_PORT, PER_SECOND)),
      target(name, ip4, HBONE_PORT, HBONE_PER_SECOND),
    ]);
    this.#firsts = new Set(options.pods.map(({ name, ip4 }) => `${name}/${ip4}/${APP_PORT}`));
    this.#prober = new Prober(outside, program, { targets, heard: options.heard });
  }

  /** Rejects when the prober ends. */
  get ended(): Promise<void> {
    return this.#prober.finished;
  }

  get refused(): number {
    return this.#prober.refused;
  }

  /** Attempts that began before no longer count. */
  mark(): void {
    this.#prober.mark();
  }

  /** At each address of these pods. */
  at(pods: readonly PodName[]): readonly Knocked[] {
    return this.#namesOf(pods).map((name) => {
      const { refused, closed, unreached, answered } = this.#prober.tally(name);
      const all = refused + closed + unreached + answered;
      return { answered, failed: refused + closed, all, first: this.#firsts.has(name) };
    });
  }

  text(pods: readonly PodName[]): string {
    return this.#namesOf(pods)
      .map((name) => `${name} ${JSON.stringify(this.#prober.tally(name))}`)
      .join(", ");
  }

  /** Resolves with the next news, or after `ms`. */
  news(ms: number): Promise<void> {
    return this.#prober.news(ms);
  }

  #namesOf(pods: readonly PodName[]): readonly string[] {
    const wanted = podNames.filter((pod) => pods.includes(pod));
    return this.#prober.names.filter(
      (name) => name.endsWith(`/${APP_PORT}`) && wanted.some((pod) => name.startsWith(`${pod}/`)),
    );
  }
}
