// main thread · what the mesh says of a workload's plaintext as a whole, kept until a policy changes: each plan of the enrollment asks it
// of each pod of the node.
import type { Workload } from "../mesh/workload.ts";
import { failDirect, refusesPlaintext, type VerdictWorld } from "./plaintext-verdicts.ts";

type Answers = { readonly failDirect: boolean; readonly refusesPlaintext: boolean };

export class PlaintextAnswers {
  readonly #world: VerdictWorld;
  #policyVersion = -1;
  /** A workload that changes is another value. */
  #known = new WeakMap<Workload, Answers>();

  constructor(world: VerdictWorld) {
    this.#world = world;
  }

  of(workload: Workload): Answers {
    const { policyVersion } = this.#world.mesh;
    if (this.#policyVersion !== policyVersion) {
      this.#policyVersion = policyVersion;
      this.#known = new WeakMap();
    }
    const known = this.#known.get(workload);
    if (known !== undefined) return known;
    const answers = {
      failDirect: failDirect(workload, this.#world),
      refusesPlaintext: refusesPlaintext(workload, this.#world),
    };
    this.#known.set(workload, answers);
    return answers;
  }
}
