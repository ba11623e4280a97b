// main thread · messages to one data thread, in their order. A large batch of updates goes in parts, the next when one was
// taken, so that a mesh of a hundred thousand is never in memory once more as a message.
import type { ToDataThread } from "./messages.ts";

/** Updates in one part: about a megabyte. */
const PART = 1_000;
/** Parts on their way at once. */
const WINDOW = 2;

export class ThreadOutbox {
  readonly #post: (message: ToDataThread) => void;
  readonly #waiting: ToDataThread[] = [];
  #onTheWay = 0;

  constructor(post: (message: ToDataThread) => void) {
    this.#post = post;
  }

  send(message: ToDataThread): void {
    if (message.op === "updates" && message.updates.length > PART) this.#waiting.push(...partsOf(message));
    else this.#waiting.push(message);
    this.#flush();
  }

  /** The thread has taken a part. */
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

type Updates = Extract<ToDataThread, { readonly op: "updates" }>;

/** All but the last say that there are more: then the thread applies them as one. */
function partsOf({ op, updates }: Updates): readonly Updates[] {
  const count = Math.ceil(updates.length / PART);
  return Array.from({ length: count }, (_, nth) => ({
    op,
    updates: updates.slice(nth * PART, (nth + 1) * PART),
    more: nth < count - 1,
  }));
}
