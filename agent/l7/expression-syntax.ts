// any thread · a regular expression as a tree: RE2's syntax (google/re2:doc/syntax.txt) as far as ASCII goes, or what of it cannot be read.
// Whatever would mean something else to RE2, or that it would refuse, is refused. Pure.
import {
  ALL,
  BEYOND,
  type CharSet,
  controls,
  folded,
  inverse,
  NEWLINE,
  ofText,
  only,
  perl,
  posix,
  range,
} from "./char-set.ts";

export type Assertion = "text-begin" | "text-end" | "line-begin" | "line-end" | "word-edge" | "no-word-edge";

export type Expression =
  | { readonly kind: "set"; readonly set: CharSet }
  | { readonly kind: "assertion"; readonly holds: Assertion }
  | { readonly kind: "sequence" | "choice"; readonly parts: readonly Expression[] }
  | { readonly kind: "repeat"; readonly part: Expression; readonly least: number; readonly most: number | null };

/** `at` is the place in the text, from 0. */
export type ExpressionProblem = { readonly at: number; readonly what: string };

/** Of a text; longer expressions are refused. */
export const LONGEST_EXPRESSION = 1_024;
const DEEPEST = 50;
/** RE2's own: of a repetition, and of repetitions inside each other. */
const MOST_REPEATED = 1_000;

type Flags = { readonly folds: boolean; readonly lines: boolean; readonly dotAll: boolean };

class UnreadableExpression extends Error {
  readonly at: number;
  constructor(at: number, what: string) {
    super(what);
    this.at = at;
  }
}

export function readExpression(text: string): Expression | ExpressionProblem {
  if (text.length > LONGEST_EXPRESSION)
    return { at: LONGEST_EXPRESSION, what: `more than ${LONGEST_EXPRESSION} characters` };
  const odd = /[^\x20-\x7e]/.exec(text);
  if (odd !== null) return { at: odd.index, what: "a character that is not printable ASCII" };
  try {
    return new ExpressionReading(text).whole();
  } catch (error) {
    if (error instanceof UnreadableExpression) return { at: error.at, what: error.message };
    throw error;
  }
}

class ExpressionReading {
  readonly #text: string;
  readonly #names = new Set<string>();
  #at = 0;
  #depth = 0;
  #flags: Flags = { folds: false, lines: false, dotAll: false };

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Expression {
    const read = this.#choice();
    if (this.#at < this.#text.length) this.#refuse("a ) without its (");
    if (repeated(read) > MOST_REPEATED)
      throw new UnreadableExpression(0, `repetitions of more than ${MOST_REPEATED} in all`);
    return read;
  }

  #refuse(what: string, at = this.#at): never {
    throw new UnreadableExpression(at, what);
  }

  #takes(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  /** The match of a sticky expression, which is taken. */
  #takesMatch(sticky: RegExp): RegExpExecArray | null {
    sticky.lastIndex = this.#at;
    const found = sticky.exec(this.#text);
    if (found !== null) this.#at += found[0].length;
    return found;
  }

  #choice(): Expression {
    const parts = [this.#sequence()];
    while (this.#takes("|")) parts.push(this.#sequence());
    const [first] = parts;
    return first !== undefined && parts.length === 1 ? first : { kind: "choice", parts };
  }

  #sequence(): Expression {
    const parts: Expression[] = [];
    while (this.#at < this.#text.length && this.#text[this.#at] !== "|" && this.#text[this.#at] !== ")") {
      if (this.#takes("\\Q")) this.#quoted(parts);
      else {
        const part = this.#atom();
        if (part !== null) parts.push(this.#repetition(part));
      }
    }
    return { kind: "sequence", parts };
  }

  /** Up to \E, or to the end. A repetition behind it is about its last character. */
  #quoted(parts: Expression[]): void {
    const end = this.#text.indexOf("\\E", this.#at);
    const quoted = this.#text.slice(this.#at, end < 0 ? undefined : end);
    this.#at += quoted.length + (end < 0 ? 0 : 2);
    for (const each of quoted) parts.push(this.#set(ofText(each)));
    const last = quoted === "" ? undefined : parts.pop();
    if (last !== undefined) parts.push(this.#repetition(last));
  }

  #set(set: CharSet): Expression {
    return { kind: "set", set: this.#flags.folds ? folded(set) : set };
  }

  /** null: flags for what follows. */
  #atom(): Expression | null {
    const begin = this.#at;
    const character = this.#text[this.#at] ?? "";
    this.#at += 1;
    switch (character) {
      case "(":
        return this.#group(begin);
      case "[":
        return this.#set(this.#characters(begin));
      case ".":
        return { kind: "set", set: this.#flags.dotAll ? ALL : inverse(NEWLINE) };
      case "^":
        return { kind: "assertion", holds: this.#flags.lines ? "line-begin" : "text-begin" };
      case "$":
        return { kind: "assertion", holds: this.#flags.lines ? "line-end" : "text-end" };
      case "\\":
        return this.#escape(begin);
      case "*":
      case "+":
      case "?":
      case "{":
        return this.#refuse(`${character} repeats nothing`, begin);
      default:
        return this.#set(ofText(character));
    }
  }

  #escape(begin: number): Expression {
    if (this.#takes("A")) return { kind: "assertion", holds: "text-begin" };
    if (this.#takes("z")) return { kind: "assertion", holds: "text-end" };
    if (this.#takes("b")) return { kind: "assertion", holds: "word-edge" };
    if (this.#takes("B")) return { kind: "assertion", holds: "no-word-edge" };
    const known = perl.get(this.#text[this.#at] ?? "");
    if (known === undefined) return this.#set(only(this.#escaped(begin)));
    this.#at += 1;
    return { kind: "set", set: known };
  }

  /** The character behind a backslash. */
  #escaped(begin: number): number {
    const hexadecimal = this.#takesMatch(/x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})/y);
    if (hexadecimal !== null) {
      const code = Number.parseInt(hexadecimal[1] ?? hexadecimal[2] ?? "", 16);
      return code < BEYOND ? code : this.#refuse("a character beyond ASCII", begin);
    }
    const character = this.#text[this.#at] ?? "";
    const control = controls.get(character);
    const isPunctuation = /^[^0-9A-Za-z]$/.test(character);
    if (control === undefined && !isPunctuation) this.#refuse(`\\${character} is not honoured`, begin);
    this.#at += 1;
    return control ?? character.charCodeAt(0);
  }

  #group(begin: number): Expression | null {
    const before = this.#flags;
    if (this.#takes("?")) {
      const name = this.#takesMatch(/P?<([0-9A-Za-z_]+)>/y)?.[1];
      if (name === undefined) {
        const change = this.#takesMatch(/([imsU]*)(?:-([imsU]+))?([:)])/y);
        if (change === null) this.#refuse("(? with something that is not honoured", begin);
        const [, on = "", off = "", end] = change;
        if (end === ")" && on + off === "") this.#refuse("(?) says nothing", begin);
        this.#flags = changed(before, on, off);
        if (end === ")") return null;
      } else if (this.#names.has(name)) this.#refuse(`the name ${name} twice`, begin);
      else this.#names.add(name);
    }
    this.#depth += 1;
    if (this.#depth > DEEPEST) this.#refuse(`more than ${DEEPEST} groups inside each other`, begin);
    const read = this.#choice();
    this.#depth -= 1;
    if (!this.#takes(")")) this.#refuse("a ( without its )", begin);
    this.#flags = before;
    return read;
  }

  /** Behind the opening bracket. */
  #characters(begin: number): CharSet {
    const isInverse = this.#takes("^");
    let set = 0n;
    for (let isFirst = true; isFirst || this.#text[this.#at] !== "]"; isFirst = false) {
      if (this.#at >= this.#text.length) this.#refuse("a [ without its ]", begin);
      set |= this.#named() ?? this.#range();
    }
    this.#at += 1;
    const wanted = this.#flags.folds ? folded(set) : set;
    return isInverse ? inverse(wanted) : wanted;
  }

  /** `[:alpha:]` or `\d`. */
  #named(): CharSet | undefined {
    const begin = this.#at;
    const class_ = this.#takesMatch(/\[:(\^?)([a-z]*):\]/y);
    if (class_ !== null) {
      const known = posix.get(class_[2] ?? "") ?? this.#refuse(`${class_[0]} is no class`, begin);
      return class_[1] === "^" ? inverse(known) : known;
    }
    if (this.#text.startsWith("[:", begin)) this.#refuse("[: without its :]");
    const known = this.#text[begin] === "\\" ? perl.get(this.#text[begin + 1] ?? "") : undefined;
    if (known !== undefined) this.#at += 2;
    return known;
  }

  #range(): CharSet {
    const begin = this.#at;
    const low = this.#member();
    const behind = this.#text[this.#at + 1];
    if (this.#text[this.#at] !== "-" || behind === undefined || behind === "]") return only(low);
    this.#at += 1;
    const high = this.#member();
    return high < low ? this.#refuse("a range that ends before it begins", begin) : range(low, high);
  }

  #member(): number {
    const begin = this.#at;
    this.#at += 1;
    const character = this.#text[begin] ?? "";
    return character === "\\" ? this.#escaped(begin) : character.charCodeAt(0);
  }

  /** What follows an atom and repeats it. Which of several ways is tried first makes no difference to whether a text matches. */
  #repetition(part: Expression): Expression {
    const begin = this.#at;
    const found = this.#takesMatch(/(?:[*+?]|\{(0|[1-9][0-9]{0,3})(?:(,)(0|[1-9][0-9]{0,3})?)?\})\??/y);
    if (found === null) return part;
    if (/[*+?]|\{[0-9]/y.test(this.#text.slice(this.#at, this.#at + 2))) this.#refuse("a repetition of a repetition");
    const [written, from = "0", comma, to] = found;
    const sign = written[0];
    if (sign === "*") return { kind: "repeat", part, least: 0, most: null };
    if (sign === "+") return { kind: "repeat", part, least: 1, most: null };
    if (sign === "?") return { kind: "repeat", part, least: 0, most: 1 };
    const least = Number(from);
    const most = comma === undefined ? least : to === undefined ? null : Number(to);
    if (Math.max(least, most ?? 0) > MOST_REPEATED) this.#refuse(`more than ${MOST_REPEATED} repetitions`, begin);
    if (most !== null && most < least) this.#refuse("a repetition that ends before it begins", begin);
    return { kind: "repeat", part, least, most };
  }
}

function changed(flags: Flags, on: string, off: string): Flags {
  const is = (flag: string, before: boolean): boolean => !off.includes(flag) && (on.includes(flag) || before);
  return { folds: is("i", flags.folds), lines: is("m", flags.lines), dotAll: is("s", flags.dotAll) };
}

/** The product of counted repetitions inside each other, where it is greatest. */
function repeated(expression: Expression): number {
  switch (expression.kind) {
    case "set":
    case "assertion":
      return 1;
    case "sequence":
    case "choice":
      return expression.parts.reduce((most, part) => Math.max(most, repeated(part)), 1);
    case "repeat":
      return Math.max(1, expression.least, expression.most ?? 0) * repeated(expression.part);
  }
}
