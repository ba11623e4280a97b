// main thread · texts in force that the index of the copy on disk lacks, of files that changed after the start: by now the files may say
// something else. So the text before a change is at hand, too, where a file changes again and again.
import type { FileDigest, TextEdit } from "../last-good.ts";
import { type ChangedPart, changedPart } from "./changed-part.ts";

export type UnkeptText = { readonly digest: string; readonly text: string; readonly edit?: TextEdit | undefined };

export class UnkeptTexts {
  readonly #texts = new Map<string, UnkeptText>();
  #length = 0;

  /** Characters of all of them. */
  get length(): number {
    return this.#length;
  }

  set(file: string, unkept: UnkeptText | undefined): void {
    this.#length += (unkept?.text.length ?? 0) - (this.#texts.get(file)?.text.length ?? 0);
    if (unkept === undefined) this.#texts.delete(file);
    else this.#texts.set(file, unkept);
  }

  /** undefined: that of another content, or none. */
  of({ file, digest }: FileDigest): UnkeptText | undefined {
    const unkept = this.#texts.get(file);
    return unkept?.digest === digest ? unkept : undefined;
  }

  /** Where `text` differs from this; undefined: this is not to be had. */
  partOf(before: FileDigest, text: string): ChangedPart | undefined {
    const unkept = this.of(before);
    return unkept && changedPart(unkept.text, text);
  }

  /** The index of the copy on disk has these. */
  kept(files: readonly FileDigest[]): void {
    for (const entry of files) if (this.of(entry) !== undefined) this.set(entry.file, undefined);
  }
}

/** The text by what differs from that with the digest `base`. undefined: the text itself is hardly longer. */
export function editOf(text: string, base: string, { begin, end, endBefore }: ChangedPart): TextEdit | undefined {
  if (end - begin > text.length / 2) return undefined;
  return { base, at: begin, gone: endBefore - begin, put: text.slice(begin, end) };
}
