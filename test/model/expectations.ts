// test model · what is expected of each pod at each moment, and what was seen against it.
import { type PodName, podNames } from "./mesh.ts";
import type { Answered } from "./prober.ts";
import { Allowed } from "./when.ts";
import type { InClear } from "./wire-watch.ts";

type OfPod = {
  /** May it answer in plaintext? */
  readonly answers: Allowed;
  /** May its own calls cross the wire in the clear? */
  readonly ownCalls: Allowed;
  lastOwnUs: number;
  /** A new sandbox of it has started, and has not refused yet. */
  unguarded: boolean;
};

export class Expectations {
  readonly #ofPods: ReadonlyMap<string, OfPod> = new Map(
    podNames.map((name): [string, OfPod] => [
      name,
      { answers: new Allowed(), ownCalls: new Allowed(), lastOwnUs: 0, unguarded: false },
    ]),
  );
  readonly #violations = new Map<string, { readonly times: number; readonly first: string }>();
  /** What happened on the way that is no violation, by name. */
  readonly counts = new Map<string, number>();

  of(pod: string): OfPod {
    const expected = this.#ofPods.get(pod);
    if (expected === undefined) throw new Error(`nothing is expected of ${pod}`);
    return expected;
  }

  get violations(): readonly string[] {
    // The time finds the place in the logs of the node's programs.
    return [...this.#violations].map(([what, { times, first }]) => `${what} (${times}, seen first at ${first})`);
  }

  /** From now on the pod may answer, and call, in the clear. */
  allow(pod: PodName, what: "all" | "answers"): void {
    const { answers, ownCalls } = this.of(pod);
    answers.open();
    if (what === "all") ownCalls.open();
  }

  answered({ name, beganUs, endedUs }: Answered): void {
    const [pod = "", ...where] = name.split("/");
    const { answers, unguarded } = this.of(pod);
    // A first packet may be repeated a second later and meet a sandbox that is open by then.
    if (!answers.at(beganUs) && !answers.at(endedUs))
      this.violated(`${pod} answered in plaintext at ${where.join(":")}`);
    else if (unguarded) this.count("answers of a new sandbox before it was guarded");
  }

  inClear({ kind, name, firstUs, lastUs, packets, bytes }: InClear): void {
    const expected = this.of(name);
    if (kind === "own") expected.lastOwnUs = lastUs;
    const allowed = kind === "own" ? expected.ownCalls : expected.answers;
    if (allowed.at(firstUs) && allowed.at(lastUs)) return;
    const what = { own: "calls of its own", answer: "answers", odd: "packets that are no TCP" }[kind];
    this.violated(`${name} sent ${what} in the clear${bytes > 0 ? "" : ", without payload"}`, packets);
  }

  violated(what: string, times = 1): void {
    const { times: before, first } = this.#violations.get(what) ?? { times: 0, first: new Date().toISOString() };
    this.#violations.set(what, { times: before + times, first });
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }
}
