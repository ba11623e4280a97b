// 8 · data thread · how many connections of this thread are open, or being opened, to each endpoint.

export class EndpointLoad {
  readonly #open = new Map<string, number>();

  of(address: string, port: number): number {
    return this.#open.get(keyOf(address, port)) ?? 0;
  }

  /** Counts one connection; the result takes it back, once. */
  take(address: string, port: number): () => void {
    const key = keyOf(address, port);
    this.#open.set(key, (this.#open.get(key) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const left = (this.#open.get(key) ?? 0) - 1;
      // Removed at zero: the table is as large as what is open, not as what ever was.
      if (left > 0) this.#open.set(key, left);
      else this.#open.delete(key);
    };
  }
}

const keyOf = (address: string, port: number): string => `${address} ${port}`;
