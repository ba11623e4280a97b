// main and data threads · reading a large mesh leaves three times its size behind, which V8 would keep for a long while since
// little is allocated afterwards. Thrown away at once, when nobody is served yet.

/** A mesh of fewer objects leaves less than what is gained. */
const LARGE = 5_000;

/** Once, after the first batch of updates: it takes half a second for a hundred thousand. */
export class Tidy {
  #due = true;

  after(updates: number): void {
    if (!this.#due) return;
    this.#due = false;
    // Absent where Node was not started with the flags of run.ts.
    if (updates < LARGE) return;
    // In a turn of its own, in which nobody holds the batch any more.
    setImmediate(() => globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" }));
  }
}
