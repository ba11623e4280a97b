// keeper · looks that a timer or an event asks for: never two at a time, none of them lost, and what they could not do stays to be done.

/**
 * A function that asks for a look. Asked while a look is under way, another follows it: the first may have passed by what has changed.
 * @param failed hears what a look threw; the next look is made all the same
 */
export function inTurns(look: () => Promise<void>, failed: (error: unknown) => void): () => void {
  let state: "idle" | "looking" | "asked" = "idle";
  const run = async (): Promise<void> => {
    do {
      state = "looking";
      await look().catch(failed);
    } while (asked());
    state = "idle";
  };
  const asked = (): boolean => state === "asked";
  return () => {
    if (state === "idle") void run();
    else state = "asked";
  };
}

/** Pods whose connections have to be judged again. A pod leaves when that was done; what fails for one holds no other up. */
export class OwedSweeps {
  readonly #pods = new Set<number>();

  owe(pods: Iterable<number>): void {
    for (const podIdx of pods) this.#pods.add(podIdx);
  }

  /** @throws AggregateError of what failed, once all were tried; those pods are still owed */
  async pay(sever: (podIdx: number) => Promise<unknown>): Promise<void> {
    const errors: unknown[] = [];
    for (const podIdx of [...this.#pods]) {
      try {
        await sever(podIdx);
        this.#pods.delete(podIdx);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} pods could not be swept: ${errors[0]}`);
  }
}

/**
 * Calls once, behind what is heard in this turn of the loop, however often it is asked to.
 * @param failed hears what the call threw
 */
export function oncePerTurn(call: () => void, failed: (error: unknown) => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      try {
        call();
      } catch (error) {
        failed(error);
      }
    });
  };
}
