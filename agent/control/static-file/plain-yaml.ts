// any thread · YAML as meshes are written, as a rule: block maps and lists, flow ones on one line, scalars of one word or in quotes without
// escapes. Whatever else a document holds is left to the library (parse.ts): here it is not a mistake, but not read. Pure.
import type { FilePosition } from "../../mesh/source-ref.ts";
import type { MapEntry, Value } from "../kinds/value.ts";

/** Longer documents are the library's, with all its limits. */
const MAX_CHARACTERS = 64 * 1024;
/** Deeper values are the library's. */
const MAX_DEPTH = 24;
const MAX_KEY = 128;

const [LINE_FEED, SPACE, QUOTE, APOSTROPHE, COMMA, DASH, COLON] = [10, 32, 34, 39, 44, 45, 58];
const [OPEN_LIST, CLOSE_LIST, OPEN_MAP, CLOSE_MAP] = [91, 93, 123, 125];
const [NINE, ZERO, LAST_PRINTABLE, BACKSLASH] = [57, 48, 126, 92];
const END = -1;

const word = new Uint8Array(128);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./-")
  word[character.charCodeAt(0)] = 1;
/** Within a scalar, not at its ends. */
for (const character of ":@+=*~") word[character.charCodeAt(0)] = 2;
/** How a scalar or key may begin: what begins otherwise may be a number, a list, an anchor. */
const first = new Uint8Array(128);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/")
  first[character.charCodeAt(0)] = 1;

/** What the core schema reads as a number, of what begins with a digit (YAML 1.2.2 §10.3.2). */
const numeric = /^(?:[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?)$/;
const plainInteger = /^(?:0|[1-9][0-9]{0,14})$/;

/**
 * The value of the document, with the same positions as the library gives.
 * @param line that of the document's first character in its file
 * @returns undefined: the document has something that is not read here
 */
export function readPlain(file: string, text: string, line: number): Value | undefined {
  return text.length > MAX_CHARACTERS ? undefined : new PlainReader(file, text, line).document();
}

/** Methods that read move on behind what they return. undefined: the document has something that is not read here, and its place means nothing then. */
class PlainReader {
  readonly #file: string;
  readonly #text: string;
  #at = 0;
  #line: number;
  /** Where the line begins. */
  #begin = 0;

  constructor(file: string, text: string, line: number) {
    this.#file = file;
    this.#text = text;
    this.#line = line;
  }

  document(): Value | undefined {
    if (this.#text.startsWith("---\n")) this.#nextLine(3);
    const indent = this.#indent();
    if (indent !== 0) return undefined;
    const value = this.#blockMap(0, 0);
    return this.#at === this.#text.length ? value : undefined;
  }

  #from(): FilePosition {
    return { file: this.#file, line: this.#line, column: this.#at - this.#begin + 1 };
  }

  #peek(): number {
    return this.#at < this.#text.length ? this.#text.charCodeAt(this.#at) : END;
  }

  /** `at`: the line feed. */
  #nextLine(at: number): void {
    this.#at = at + 1;
    this.#begin = at + 1;
    this.#line += 1;
  }

  /** At the begin of a line: passes empty lines and the spaces of the next. END: there is none. */
  #indent(): number {
    while (this.#peek() === LINE_FEED) this.#nextLine(this.#at);
    while (this.#peek() === SPACE) this.#at += 1;
    return this.#at === this.#text.length && this.#at === this.#begin ? END : this.#at - this.#begin;
  }

  /** At the end of a value, which must be that of its line: passes it, and returns the indent of the next line. */
  #endOfLine(): number | undefined {
    if (this.#peek() === END) return END;
    if (this.#peek() !== LINE_FEED) return undefined;
    this.#nextLine(this.#at);
    return this.#indent();
  }

  /** Reads a map from its first key, which is `indent` characters from the begin of its line, to behind the indent of what follows the map. */
  #blockMap(indent: number, depth: number): Value | undefined {
    if (depth > MAX_DEPTH) return undefined;
    const from = this.#from();
    const entries = new Map<string, MapEntry>();
    for (;;) {
      const keyFrom = this.#from();
      const key = this.#key();
      if (key === undefined || entries.has(key)) return undefined;
      const value = this.#peek() === LINE_FEED ? this.#below(indent, depth) : this.#beside(indent, depth);
      if (value === undefined) return undefined;
      entries.set(key, { keyFrom, value });
      if (this.#column() !== indent) return { type: "map", from, entries };
      if (this.#peek() === DASH) return undefined;
    }
  }

  /** The column at which the next value or key begins, from 0; END: nothing follows. */
  #column(): number {
    return this.#at === this.#text.length ? END : this.#at - this.#begin;
  }

  /** A value in the lines below its key. */
  #below(indent: number, depth: number): Value | undefined {
    const next = this.#endOfLine();
    if (next === undefined || next < indent) return undefined;
    if (this.#isItem()) return this.#blockList(next, depth + 1);
    return next > indent ? this.#blockMap(next, depth + 1) : undefined;
  }

  /** A value in the line of its key or dash. What is indented further below would be part of it. */
  #beside(indent: number, depth: number): Value | undefined {
    const value = this.#inline(depth + 1, false);
    const next = value && this.#endOfLine();
    return next === undefined || next > indent ? undefined : value;
  }

  #isItem(): boolean {
    return this.#peek() === DASH && this.#text.charCodeAt(this.#at + 1) === SPACE;
  }

  #blockList(indent: number, depth: number): Value | undefined {
    if (depth > MAX_DEPTH) return undefined;
    const from = this.#from();
    const items: Value[] = [];
    for (;;) {
      this.#at += 1;
      while (this.#peek() === SPACE) this.#at += 1;
      const item = this.#isKey() ? this.#blockMap(this.#at - this.#begin, depth + 1) : this.#beside(indent, depth);
      if (item === undefined) return undefined;
      items.push(item);
      if (this.#column() < indent) return { type: "list", from, items };
      if (this.#column() > indent) return undefined;
      // In a map's own indent its next key may follow.
      if (!this.#isItem()) return { type: "list", from, items };
    }
  }

  /** Whether a key of a block map is here. */
  #isKey(): boolean {
    const end = this.#wordEnd();
    const after = end + 1 < this.#text.length ? this.#text.charCodeAt(end + 1) : LINE_FEED;
    return end > this.#at && this.#text.charCodeAt(end) === COLON && (after === SPACE || after === LINE_FEED);
  }

  /** A key, its colon, and the spaces behind. */
  #key(): string | undefined {
    if (!this.#isKey()) return undefined;
    const end = this.#wordEnd();
    const first = this.#text.charCodeAt(this.#at);
    // The library's way with numbers as keys is its own.
    if (end - this.#at > MAX_KEY || (first >= ZERO && first <= NINE)) return undefined;
    const key = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    while (this.#peek() === SPACE) this.#at += 1;
    return key;
  }

  /** Behind the last character of the word that begins here. Here, if none does. */
  #wordEnd(): number {
    const text = this.#text;
    let at = this.#at;
    if (at >= text.length || first[text.charCodeAt(at)] !== 1) return at;
    for (at += 1; at < text.length; at += 1) if (!word[text.charCodeAt(at)]) break;
    // Behind these a word goes on, or it is something else.
    while (word[text.charCodeAt(at - 1)] === 2) at -= 1;
    return at;
  }

  #inline(depth: number, inFlow: boolean): Value | undefined {
    if (depth > MAX_DEPTH) return undefined;
    switch (this.#peek()) {
      case OPEN_MAP:
        return this.#flowMap(depth);
      case OPEN_LIST:
        return this.#flowList(depth);
      case QUOTE:
      case APOSTROPHE:
        return this.#quoted(inFlow);
      default:
        return this.#scalar(inFlow);
    }
  }

  #flowMap(depth: number): Value | undefined {
    const from = this.#from();
    const entries = new Map<string, MapEntry>();
    this.#at += 1;
    this.#spaces();
    if (this.#peek() === CLOSE_MAP) {
      this.#at += 1;
      return { type: "map", from, entries };
    }
    for (;;) {
      const keyFrom = this.#from();
      const key = this.#key();
      const value = key === undefined || entries.has(key) ? undefined : this.#inline(depth + 1, true);
      if (key === undefined || value === undefined) return undefined;
      entries.set(key, { keyFrom, value });
      const ended = this.#afterItem(CLOSE_MAP);
      if (ended === undefined) return undefined;
      if (ended) return { type: "map", from, entries };
    }
  }

  #flowList(depth: number): Value | undefined {
    const from = this.#from();
    const items: Value[] = [];
    this.#at += 1;
    this.#spaces();
    if (this.#peek() === CLOSE_LIST) {
      this.#at += 1;
      return { type: "list", from, items };
    }
    for (;;) {
      const item = this.#inline(depth + 1, true);
      if (item === undefined) return undefined;
      items.push(item);
      const ended = this.#afterItem(CLOSE_LIST);
      if (ended === undefined) return undefined;
      if (ended) return { type: "list", from, items };
    }
  }

  /** Passes what is behind an item of a flow: true: its end; false: a comma, and there is a further item. */
  #afterItem(close: number): boolean | undefined {
    this.#spaces();
    const found = this.#peek();
    if (found !== close && found !== COMMA) return undefined;
    this.#at += 1;
    if (found === close) return true;
    this.#spaces();
    return false;
  }

  #spaces(): void {
    while (this.#peek() === SPACE) this.#at += 1;
  }

  #quoted(inFlow: boolean): Value | undefined {
    const from = this.#from();
    const quote = this.#peek();
    const begin = this.#at + 1;
    for (let at = begin; ; at += 1) {
      const found = at < this.#text.length ? this.#text.charCodeAt(at) : END;
      if (found < SPACE || found > LAST_PRINTABLE || found === BACKSLASH) return undefined;
      if (found !== quote) continue;
      this.#at = at + 1;
      return this.#isEnded(inFlow) ? { type: "string", value: this.#text.slice(begin, at), from } : undefined;
    }
  }

  #scalar(inFlow: boolean): Value | undefined {
    const from = this.#from();
    const end = this.#wordEnd();
    if (end === this.#at) return undefined;
    const value = this.#text.slice(this.#at, end);
    const first = this.#text.charCodeAt(this.#at);
    this.#at = end;
    if (!this.#isEnded(inFlow)) return undefined;
    if (first >= ZERO && first <= NINE && numeric.test(value))
      return plainInteger.test(value) ? { type: "number", value: Number(value), from } : undefined;
    switch (value) {
      case "true":
      case "false":
        return { type: "boolean", value: value === "true", from };
      case "True":
      case "TRUE":
      case "False":
      case "FALSE":
      case "null":
      case "Null":
      case "NULL":
        return undefined;
      default:
        return { type: "string", value, from };
    }
  }

  /** Whether a scalar ends here. */
  #isEnded(inFlow: boolean): boolean {
    const found = this.#peek();
    if (!inFlow) return found === LINE_FEED || found === END;
    if (found === SPACE) {
      let at = this.#at;
      while (this.#text.charCodeAt(at) === SPACE) at += 1;
      const after = this.#text.charCodeAt(at);
      return after === COMMA || after === CLOSE_MAP || after === CLOSE_LIST;
    }
    return found === COMMA || found === CLOSE_MAP || found === CLOSE_LIST;
  }
}
