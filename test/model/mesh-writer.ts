// test model · writes the mesh file in the ways that operators and programs do, whole and half.
import { closeSync, openSync, renameSync, rmSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export class MeshWriter {
  readonly path: string;
  /** Documents that come first in the same file: the NodeConfig of a machine with one file. */
  readonly #head: readonly string[];
  #whole = false;

  constructor(path: string, head: readonly string[]) {
    this.path = path;
    this.#head = head;
  }

  /** What lies there is what was last meant. */
  get whole(): boolean {
    return this.#whole;
  }

  renamed(documents: readonly string[]): void {
    writeFileSync(`${this.path}.new`, this.#text(documents));
    renameSync(`${this.path}.new`, this.path);
    this.#whole = true;
  }

  inPlace(documents: readonly string[]): void {
    writeFileSync(this.path, this.#text(documents));
    this.#whole = true;
  }

  /** In place, with a pause before the document `at` (counted without the head). */
  async paused(documents: readonly string[], at: number, ms: number): Promise<void> {
    const file = openSync(this.path, "w");
    try {
      writeSync(file, this.#text(documents.slice(0, at)));
      await sleep(ms);
      writeSync(file, `---\n${documents.slice(at).join("---\n")}`);
    } finally {
      closeSync(file);
    }
    this.#whole = true;
  }

  /** A text that is no mesh. */
  broken(text: string): void {
    writeFileSync(this.path, this.#text([text]));
    this.#whole = false;
  }

  away(): void {
    rmSync(this.path, { force: true });
    this.#whole = false;
  }

  empty(): void {
    writeFileSync(this.path, "");
    this.#whole = false;
  }

  /** As a file copied from a machine whose clock is wrong. */
  dated(offsetSeconds: number): void {
    const at = Date.now() / 1000 + offsetSeconds;
    utimesSync(this.path, at, at);
  }

  #text(documents: readonly string[]): string {
    return [...this.#head, ...documents].join("---\n");
  }
}
