// 20 · any thread · what conditions of routes read of a request, each part once however many conditions ask for it, and what that costs. Pure.
import type { RequestFacts } from "../mesh/facts.ts";
import type { HeadWords } from "../mesh/head-words.ts";
import { queryOf } from "./query.ts";

/** What a route may look at. `target`: path and query as they came. */
export type RoutedRequest = Pick<RequestFacts, "method" | "path" | "header"> & {
  readonly target: string;
  /** Of this very request; absent: nobody has read its words before. */
  readonly words?: HeadWords;
};

/**
 * Characters of a request that are read for its conditions: a caller may send long fields, and a route may compare many of them. A
 * microsecond or so for each 100.
 */
export const MOST_READ = 524_288;
/** To look for a field among all that came, in characters. */
const LOOK = 64;

/** For one request after the other. It holds only as long as the request's event does. */
export class RequestReader {
  #request: RoutedRequest | null = null;
  #fields: Map<string, string | undefined> = new Map();
  #parameters: Map<string, string | undefined> = new Map();
  #read = 0;

  begin(request: RoutedRequest): void {
    this.#request = request;
    this.#read = 0;
  }

  /** Keeps nothing of the request. `clear` would: behind an emptied table V8 keeps the table before it until all of the heap is marked. */
  end(): void {
    this.#request = null;
    if (this.#fields.size > 0) this.#fields = new Map();
    if (this.#parameters.size > 0) this.#parameters = new Map();
  }

  get method(): string {
    return this.#request?.method ?? "";
  }

  get path(): string {
    return this.#request?.path.text ?? "";
  }

  /** Too much was read: what was found does not count. */
  get isOver(): boolean {
    return this.#read > MOST_READ;
  }

  /** An expression goes through a text. */
  goesThrough(text: string): void {
    this.#read += text.length;
  }

  /** Several lines of a field are one list (RFC 9110, section 5.2). undefined: it was not sent. */
  field(name: string): string | undefined {
    const known = this.#fields.get(name);
    if (known !== undefined || this.#fields.has(name)) return known;
    const sent = this.#request?.header(name) ?? [];
    const value = sent.length === 0 ? undefined : sent.join(",");
    this.#read += LOOK + (value?.length ?? 0);
    this.#fields.set(name, value);
    return value;
  }

  /** Of the query; undefined: it does not have the name. */
  parameter(name: string): string | undefined {
    const known = this.#parameters.get(name);
    if (known !== undefined || this.#parameters.has(name)) return known;
    const target = this.#request?.target ?? "";
    const value = queryOf(target, name);
    this.#read += LOOK + target.length;
    this.#parameters.set(name, value);
    return value;
  }
}
