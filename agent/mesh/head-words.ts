// 18 · any thread · the words of a request's head that say what it asks for. Requests of the same words may share the object, so that what
// the words mean is worked out once.
import type { RequestText } from "./facts.ts";

export type SentWords = {
  readonly method: string;
  /** Path and query, such as `/a?b=c`; `*`. */
  readonly target: string;
  /** Host or :authority; empty: none was sent. */
  readonly authority: string;
};

export class HeadWords {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  /** Another request has come with these words. */
  isRepeated = false;
  /** What they mean (agent/l7/words-meaning.ts); null: nobody has asked. */
  path: RequestText | null = null;
  host: RequestText | null = null;

  constructor({ method, target, authority }: SentWords) {
    this.method = method;
    this.target = target;
    this.authority = authority;
  }
}
