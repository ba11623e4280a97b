// main thread · log lines that a peer can cause: so many a second are written, a single line counts the others.

export type LineLimitOptions<Line> = {
  readonly perSecond: number;
  readonly write: (line: Line) => void;
  /** Once after each second in which lines were left out. */
  readonly leftOut: (count: number) => void;
};

const SECOND_MS = 1_000;

export class LineLimit<Line> {
  readonly #options: LineLimitOptions<Line>;
  #seen = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LineLimitOptions<Line>) {
    this.#options = options;
  }

  add(line: Line): void {
    this.#timer ??= setTimeout(() => this.#endSecond(), SECOND_MS).unref();
    this.#seen += 1;
    if (this.#seen <= this.#options.perSecond) this.#options.write(line);
  }

  /** Tells at once of what was left out. */
  close(): void {
    clearTimeout(this.#timer);
    this.#endSecond();
  }

  #endSecond(): void {
    const count = this.#seen - this.#options.perSecond;
    this.#seen = 0;
    this.#timer = undefined;
    if (count > 0) this.#options.leftOut(count);
  }
}
