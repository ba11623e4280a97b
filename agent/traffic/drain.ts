// data thread · stop taking, let finish, cut at the deadline: explicit states, each left once.

export type DrainState =
  | { readonly kind: "serving" }
  /** Nothing new is accepted; what is open goes on until `deadlineMs` on the monotonic clock. */
  | { readonly kind: "draining"; readonly deadlineMs: number }
  /** The deadline passed: everything open has been asked to close. */
  | { readonly kind: "cutting" }
  | { readonly kind: "drained" };

/** How long the engine may take to report what was cut. */
const CUT_LIMIT_MS = 1000;

export type DrainOptions = {
  readonly now: () => number;
  readonly after: (ms: number, call: () => void) => () => void;
  readonly open: () => number;
  /** Engine.drain: GOAWAY, accept nothing more. */
  readonly stopTaking: () => void;
  readonly cutAll: () => void;
};

export class Drain {
  readonly #options: DrainOptions;
  #state: DrainState = { kind: "serving" };
  #cancelTimer: (() => void) | null = null;
  #done: (() => void)[] = [];

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  get state(): DrainState {
    return this.#state;
  }

  /** serving → draining. `done` is called once nothing is open, at once if so; a second call only adds its `done`. */
  begin(limitMs: number, done: () => void): void {
    this.#done.push(done);
    if (this.#state.kind === "serving") {
      this.#state = { kind: "draining", deadlineMs: this.#options.now() + limitMs };
      this.#options.stopTaking();
      this.#cancelTimer = this.#options.after(limitMs, () => this.#cut());
    }
    this.connectionEnded();
  }

  /** To be called after every end of a connection. */
  connectionEnded(): void {
    if (this.#state.kind !== "serving" && this.#options.open() === 0) this.#finish();
  }

  #cut(): void {
    this.#state = { kind: "cutting" };
    this.#cancelTimer = this.#options.after(CUT_LIMIT_MS, () => this.#finish());
    this.#options.cutAll();
    this.connectionEnded();
  }

  #finish(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#state = { kind: "drained" };
    const done = this.#done;
    this.#done = [];
    for (const call of done) call();
  }
}
