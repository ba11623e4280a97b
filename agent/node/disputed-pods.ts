// main thread · what this agent has done about pods that several workloads claim, and what it has said of them. The log says each once.
import { fullName } from "../mesh/full-name.ts";
import type { Logger } from "../observe/log.ts";
import type { DesiredPods } from "./desired-pods.ts";

export class DisputedPods {
  readonly #log: Logger;
  /** By UID, the index under which a disputed pod was taken out of capture. */
  readonly #disowned = new Map<string, number>();
  /** By UID. */
  readonly #said = new Map<string, string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  get disowned(): ReadonlyMap<string, number> {
    return this.#disowned;
  }

  /** Index undefined: the keeper holds nothing for it. */
  disown(podUid: string, podIdx: number | undefined): void {
    if (podIdx === undefined) this.#disowned.delete(podUid);
    else this.#disowned.set(podUid, podIdx);
  }

  /** What another keeper holds for it is to be looked at again. */
  keeperCame(): void {
    this.#disowned.clear();
  }

  note({ rivalries }: Pick<DesiredPods, "rivalries">): void {
    for (const [podUid, { claimants, owner }] of rivalries) {
      if (owner !== undefined) this.#disowned.delete(podUid);
      const names = claimants.map(fullName);
      const what = `${names} ${owner?.uid ?? ""}`;
      if (this.#said.get(podUid) === what) continue;
      this.#said.set(podUid, what);
      const fields = { pod: podUid, claimants: names };
      if (claimants.length === 1)
        this.#log.info("nothing says whose static pod it is yet: it is enrolled as nobody's", fields);
      else if (owner === undefined) this.#log.warn("several workloads claim a pod: it is enrolled as nobody's", fields);
      else
        this.#log.warn(
          `several workloads claim a pod: the only one ${owner.addresses.length === 0 ? "of its name" : "with an address"} has it`,
          {
            ...fields,
            has: fullName(owner),
          },
        );
    }
    for (const podUid of this.#said.keys()) {
      if (rivalries.has(podUid)) continue;
      this.#said.delete(podUid);
      this.#disowned.delete(podUid);
    }
  }
}
