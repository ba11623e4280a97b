// main thread · the messages to a data thread, in their order. A large batch of updates goes in parts, and the next part goes
// when the thread has read an earlier part, so that a mesh of 100,000 workloads is never in memory once more as a message.
import type { MainMessage } from "./messages.ts";

/** Updates in a part: about a megabyte. */
const PART = 1_000;
/** So many parts may be on their way at once. */
const WINDOW = 2;

export class ThreadOutbox {
  readonly #post: (message: MainMessage) => void;
  readonly #waiting: MainMessage[] = [];
  #onTheWay = 0;

  constructor(post: (message: MainMessage) => void) {
    this.#post = post;
  }

  send(message: MainMessage): void {
    if (message.op === "updates" && message.updates.length > PART) this.#waiting.push(...partsOf(message));
    else this.#waiting.push(message);
    this.#flush();
  }

  /** The thread has read a part. */
  taken(): void {
    this.#onTheWay -= 1;
    this.#flush();
  }

  #flush(): void {
    while (this.#onTheWay < WINDOW) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      if (next.op === "updates" && next.more) this.#onTheWay += 1;
      this.#post(next);
    }
  }
}

type Updates = Extract<MainMessage, { readonly op: "updates" }>;

/** Each part but the last says that more follow: the thread then applies all parts as a single batch. */
function partsOf({ op, updates }: Updates): readonly Updates[] {
  const count = Math.ceil(updates.length / PART);
  return Array.from({ length: count }, (_, nth) => ({
    op,
    updates: updates.slice(nth * PART, (nth + 1) * PART),
    more: nth < count - 1,
  }));
}
