// keeper · of what is asked for a pod the next thing begins when the one before has ended; pods do not wait for each other.

export class PodTurns {
  /** The last thing under way for a pod, by UID; it never rejects. */
  readonly #turns = new Map<string, Promise<unknown>>();

  of<T>(uid: string, act: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(uid) ?? Promise.resolve();
    const mine = before.then(act);
    const settled = mine.then(
      () => undefined,
      () => undefined, // The caller of `mine` gets the error; the next turn only waits.
    );
    this.#turns.set(uid, settled);
    void settled.then(() => {
      if (this.#turns.get(uid) === settled) this.#turns.delete(uid);
    });
    return mine;
  }

  isUnderWay(uid: string): boolean {
    return this.#turns.has(uid);
  }

  /** All that is under way now has ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#turns.values());
  }
}
