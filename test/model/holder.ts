// test model · native/hold.c in one namespace and native/serve.c in another: connections by their ids, and what both ends say of them.
import type { Running } from "../box/process.ts";

export type LinkKind = "plain" | "mptcp" | "half";

/** `up`: a line came back, and since then neither end has ended. */
export type LinkState = "opening" | "up" | "ended";

/** All ends of connections, wherever they live: an id is unique in a world. */
export class LinkTable {
  readonly #clients = new Map<string, LinkState>();
  readonly #why = new Map<string, string>();
  /** Of applications that accepted it. */
  readonly #servers = new Map<string, "up" | "ended">();
  readonly #echoes = new Map<string, number>();
  #wakers: (() => void)[] = [];

  opening(id: string): void {
    this.#clients.set(id, "opening");
  }

  /** Follows what a program says; resolves with its end, and what it held has ended then, too. */
  async follow(program: Running): Promise<void> {
    const own = new Map<string, "client" | "server">();
    try {
      for (;;) {
        const [what, first = "", second = "", ...more] = (await program.line(3_600_000)).split(" ");
        if (what === "up") this.#clients.set(first, "up");
        else if (what === "failed" || what === "dead") {
          this.#clients.set(first, "ended");
          this.#why.set(first, [second, ...more].join(" "));
        } else if (what === "echo") this.#echoes.set(second, Math.max(Number(first), this.#echoes.get(second) ?? 0));
        else if (what === "come") this.#servers.set(first, "up");
        else if (what === "gone") this.#servers.set(first, "ended");
        if (what === "come") own.set(first, "server");
        if (what === "up") own.set(first, "client");
        this.#wake();
      }
    } catch {
      // The program ended, with its sandbox perhaps.
      for (const [id, end] of own) (end === "client" ? this.#clients : this.#servers).set(id, "ended");
      this.#wake();
    }
  }

  client(id: string): LinkState {
    return this.#clients.get(id) ?? "ended";
  }

  /** Does an application still hold its end? */
  isServed(id: string): boolean {
    return this.#servers.get(id) === "up";
  }

  echoed(id: string): number {
    return this.#echoes.get(id) ?? 0;
  }

  why(id: string): string {
    return this.#why.get(id) ?? "";
  }

  /** Resolves with the next news, or after `ms`. */
  news(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wakers.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }
}
