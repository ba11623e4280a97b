// 8 · data thread · how many connections of this thread are open, or being opened, to each endpoint.

/** The connections to one endpoint. */
export type OpenTo = {
  /** Takes back one `take`; once for each. */
  readonly release: () => void;
};

export class EndpointLoad {
  readonly #open = new Map<string, Counted>();

  of(address: string, port: number): number {
    return this.#open.get(keyOf(address, port))?.count ?? 0;
  }

  /** Counts one connection. All connections to the endpoint get the same object. */
  take(address: string, port: number): OpenTo {
    const key = keyOf(address, port);
    const counted = this.#open.get(key) ?? this.#begin(key);
    counted.count += 1;
    return counted;
  }

  #begin(key: string): Counted {
    const counted: Counted = {
      count: 0,
      release: () => {
        counted.count -= 1;
        // Removed at zero: the table is as large as what is open, not as what ever was.
        if (counted.count === 0) this.#open.delete(key);
      },
    };
    this.#open.set(key, counted);
    return counted;
  }
}

type Counted = OpenTo & { count: number };

const keyOf = (address: string, port: number): string => `${address} ${port}`;
