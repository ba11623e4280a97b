// 8 · data thread · how many connections of this thread are open, or being opened, to each endpoint.

/** The connections to one endpoint. */
export type OpenTo = {
  /** Takes back one `take`; once for each. */
  readonly release: () => void;
};

/** Endpoints to which nothing is open are forgotten when there are more of them: the next request often goes to the same. */
const MOST_AT_REST = 1_000;

export class EndpointLoad {
  /** By address, then the ports there: a request each comes by here, and makes no text. */
  readonly #known = new Map<string, Counted[]>();
  #atRest = 0;

  of(address: string, port: number): number {
    return this.#find(address, port)?.count ?? 0;
  }

  /** Counts one connection. All connections to the endpoint get the same object. */
  take(address: string, port: number): OpenTo {
    const counted = this.#find(address, port) ?? this.#add(address, port);
    if (counted.count === 0) this.#atRest -= 1;
    counted.count += 1;
    return counted;
  }

  #find(address: string, port: number): Counted | undefined {
    const there = this.#known.get(address);
    if (there === undefined) return undefined;
    for (const counted of there) if (counted.port === port) return counted;
    return undefined;
  }

  #add(address: string, port: number): Counted {
    const counted: Counted = {
      port,
      count: 0,
      release: () => {
        counted.count -= 1;
        if (counted.count === 0) this.#rests();
      },
    };
    this.#atRest += 1;
    const there = this.#known.get(address);
    if (there === undefined) this.#known.set(address, [counted]);
    else there.push(counted);
    return counted;
  }

  #rests(): void {
    this.#atRest += 1;
    if (this.#atRest <= MOST_AT_REST) return;
    for (const [address, there] of this.#known) {
      const open = there.filter(({ count }) => count > 0);
      if (open.length > 0) this.#known.set(address, open);
      else this.#known.delete(address);
    }
    this.#atRest = 0;
  }

  /** Endpoints that are remembered. */
  get size(): number {
    let size = 0;
    for (const there of this.#known.values()) size += there.length;
    return size;
  }
}

type Counted = OpenTo & { readonly port: number; count: number };
