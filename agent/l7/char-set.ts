// any thread · sets of characters as numbers, and those that have names in expressions (google/re2:doc/syntax.txt). Pure.

/** Characters: bit n is the ASCII character n, bit 128 is each character beyond ASCII. */
export type CharSet = bigint;
export const BEYOND = 128;

export const range = (from: number, to: number): CharSet => ((1n << BigInt(to - from + 1)) - 1n) << BigInt(from);
export const only = (code: number): CharSet => 1n << BigInt(code);
export const ofText = (text: string): CharSet => [...text].reduce((set, each) => set | only(each.charCodeAt(0)), 0n);
export const ALL: CharSet = range(0, BEYOND);
export const inverse = (set: CharSet): CharSet => ALL & ~set;

const digits = range(48, 57);
const upper = range(65, 90);
const lower = range(97, 122);
export const NEWLINE: CharSet = only(10);
export const WORD: CharSet = digits | upper | lower | ofText("_");
const spaces = ofText("\t\n\f\r ");
export const perl: ReadonlyMap<string, CharSet> = new Map([
  ...(["d", "s", "w"] as const).map((name, at): [string, CharSet] => [name, [digits, spaces, WORD][at] ?? 0n]),
  ...(["D", "S", "W"] as const).map((name, at): [string, CharSet] => [name, inverse([digits, spaces, WORD][at] ?? 0n)]),
]);
const punctuation = range(33, 47) | range(58, 64) | range(91, 96) | range(123, 126);
export const posix: ReadonlyMap<string, CharSet> = new Map([
  ["alnum", digits | upper | lower],
  ["alpha", upper | lower],
  ["ascii", range(0, 127)],
  ["blank", ofText("\t ")],
  ["cntrl", range(0, 31) | only(127)],
  ["digit", digits],
  ["graph", range(33, 126)],
  ["lower", lower],
  ["print", range(32, 126)],
  ["punct", punctuation],
  ["space", spaces | ofText("\v")],
  ["upper", upper],
  ["word", WORD],
  ["xdigit", digits | range(65, 70) | range(97, 102)],
]);
/** Of a backslash with a letter. */
export const controls: ReadonlyMap<string, number> = new Map([
  ["a", 7],
  ["t", 9],
  ["n", 10],
  ["v", 11],
  ["f", 12],
  ["r", 13],
]);

/** Both cases of each letter in it. */
export const folded = (set: CharSet): CharSet => set | ((set & upper) << 32n) | ((set & lower) >> 32n);
