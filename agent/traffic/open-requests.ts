// 18 · data thread · the requests of a connection that are open: of HTTP/1 at most a single request, of HTTP/2 as many as its streams.

/** A node holds many connections with a single request: only what has several needs a table. */
export class OpenRequests<Request extends { readonly request: number }> {
  #first: Request | null = null;
  #others: Map<number, Request> | null = null;

  /** The oldest; null: none is open. */
  get oldest(): Request | null {
    return this.#first;
  }

  get size(): number {
    return this.#first === null ? 0 : 1 + (this.#others?.size ?? 0);
  }

  /** By its number on the connection. */
  find(request: number): Request | null {
    if (this.#first?.request === request) return this.#first;
    return this.#others?.get(request) ?? null;
  }

  /** The connection has no other: HTTP/1. */
  set(request: Request | null): void {
    this.#first = request;
    this.#others = null;
  }

  add(request: Request): void {
    if (this.#first === null) {
      this.#first = request;
    } else {
      this.#others ??= new Map();
      this.#others.set(request.request, request);
    }
  }

  /** Nothing happens when it is not open. */
  remove(request: number): void {
    const others = this.#others;
    if (this.#first?.request !== request) {
      others?.delete(request);
      return;
    }
    const [next = null] = others?.values() ?? [];
    this.#first = next;
    if (next !== null) others?.delete(next.request);
  }

  numbers(): readonly number[] {
    return this.#first === null ? [] : [this.#first.request, ...(this.#others?.keys() ?? [])];
  }
}
