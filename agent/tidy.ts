// main and data threads · a start leaves behind what it was made of, and the reading of a large mesh three times its size; V8
// would keep both for a long while, since little is allocated afterwards. Thrown away once.

/** With a mesh of more objects the throwing away takes long enough to be felt by connections: it comes before there are any. */
const LARGE = 5_000;
/** Otherwise after the pods were brought into service, ms. */
const SETTLED_MS = 1_500;

export class Tidy {
  #due = true;

  /** To be called after each batch of updates; the first is all of the mesh. */
  after(updates: number): void {
    if (!this.#due) return;
    this.#due = false;
    // In a turn of its own, in which nobody holds the batch any more.
    if (updates >= LARGE) setImmediate(collect);
    else setTimeout(collect, SETTLED_MS).unref();
  }
}

function collect(): void {
  // Absent where Node was not started with the flags of run.ts.
  globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
}
