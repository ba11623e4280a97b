// main thread · how long a kind's watches have brought no line, though the server answers them: what is between agent and server may pass
// on the beginning of an answer and hold back its body. Pure but for its state.

/**
 * When successive watches have brought no line for so long in sum, something holds their answers back, ms. API servers send a bookmark each
 * minute (kubernetes: apiserver/pkg/storage/cacher/cacher.go). Two watches in a row that are silent for 90 s each reach it, however their timers round.
 */
const MUTE_MS = 150_000;

export class MuteWatches {
  #quietMs = 0;
  #isMute = false;

  /** No watch has brought a line since the limit was reached. Lists may have been read. */
  get isMute(): boolean {
    return this.#isMute;
  }

  /** The limit was reached since the last list: only another list says what has changed. */
  get isListDue(): boolean {
    return this.#quietMs >= MUTE_MS;
  }

  /** A watch has ended that brought no line in this time, ms. */
  ended(afterMs: number): void {
    this.#quietMs += afterMs;
    if (this.isListDue) this.#isMute = true;
  }

  /** A watch has brought a line. */
  spoke(): void {
    this.#quietMs = 0;
    this.#isMute = false;
  }

  /** The kind was listed by pages. */
  listed(): void {
    this.#quietMs = 0;
  }
}
