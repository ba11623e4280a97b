// CLI · how anything is shown: tables like kubectl's, JSON, YAML, names; colour only where it is wanted; exit statuses.
import { quietJson, quietLines, quotedText } from "../mesh/terminal-text.ts";

/** sysexits.h where it has a word for it; 79 is istioctl's "findings". */
export const exits = {
  ok: 0,
  failed: 1,
  usage: 64,
  badInput: 65,
  unreachable: 69,
  notPermitted: 77,
  findings: 79,
  interrupted: 130,
} as const;
export type Exit = (typeof exits)[keyof typeof exits];

/** All of the outside that a command touches, so that tests call commands as functions. */
export type CliEnv = {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly isTTY: boolean;
  readonly vars: Readonly<Record<string, string | undefined>>;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
};

/** Three lines for a person: what, why, do this. `code` has a page that `orlop explain-code` shows. */
export class CliFailure extends Error {
  readonly exit: Exit;
  readonly code: string;
  readonly why: string;
  readonly fix: string;

  constructor(
    exit: Exit,
    parts: { readonly code: string; readonly what: string; readonly why: string; readonly fix: string },
  ) {
    super(parts.what);
    this.exit = exit;
    this.code = parts.code;
    this.why = parts.why;
    this.fix = parts.fix;
  }
}

export function failureText(failure: CliFailure): string {
  return `orlop: ${printable(failure.message)}  ${failure.code}\n  why: ${printable(failure.why)}\n  do:  ${printable(failure.fix)}\n`;
}

export const formats = ["table", "wide", "json", "yaml", "name"] as const;
export type Format = (typeof formats)[number];

/** Whatever a name holds, the terminal obeys none of it. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "?");
}

const ownColors = new RegExp(`(${String.fromCharCode(0x1b)}\\[(?:0|31|32|33)m)`);

/** What `table` and `painter` make stays; a word that was printed as another program said it loses what a terminal would obey. */
export function quietOutput(text: string): string {
  return text
    .split(ownColors)
    .map((part, at) => (at % 2 === 1 ? part : quietLines(part)))
    .join("");
}

export type Column<Item> = {
  readonly header: string;
  readonly value: (item: Item) => string;
  /** Only with `-o wide`. */
  readonly wide?: true;
  /** Only while several namespaces are shown. */
  readonly namespace?: true;
};

export type TableOptions = {
  readonly wide: boolean;
  readonly headers: boolean;
  readonly namespaces: boolean;
  readonly paint: Paint;
};

/** Columns two spaces apart, as wide as their widest value; nothing after the last column. */
export function table<Item>(columns: readonly Column<Item>[], items: readonly Item[], options: TableOptions): string {
  const shown = columns.filter((column) => (options.wide || !column.wide) && (options.namespaces || !column.namespace));
  const rows = items.map((item) => shown.map((column) => printable(column.value(item)) || "-"));
  if (options.headers) rows.unshift(shown.map(({ header }) => header));
  const widths = shown.map((_, at) => Math.max(0, ...rows.map((row) => width(row[at] ?? ""))));
  return rows
    .map((row, index) =>
      row
        .map((cell, at) => {
          const pad = at === row.length - 1 ? "" : " ".repeat((widths[at] ?? 0) - width(cell) + 2);
          return `${options.headers && index === 0 ? cell : options.paint.word(cell)}${pad}`;
        })
        .join("")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function width(text: string): number {
  return [...text].length;
}

export type ColorWish = "auto" | "always" | "never";

export type Paint = {
  /** Colours the words that mean a state; the word itself always says it too. */
  readonly word: (text: string) => string;
};

/** --color over NO_COLOR over FORCE_COLOR over TERM=dumb over "is it a terminal". */
export function wantsColor(wish: ColorWish, env: CliEnv): boolean {
  if (wish !== "auto") return wish === "always";
  const { NO_COLOR, FORCE_COLOR, TERM } = env.vars;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== "") return FORCE_COLOR !== "0";
  return TERM !== "dumb" && env.isTTY;
}

const good = new Set(["ok", "allow", "ALLOW", "ready", "captured", "synced", "watching", "enforce", "yes"]);
const fair = new Set(["warn", "pending", "leaving", "waiting", "listing", "held", "dry-run", "PERMISSIVE", "none"]);
const bad = new Set(["FAIL", "deny", "DENY", "failed", "rejected", "partial", "stale", "away", "expired", "no"]);

export function painter(colored: boolean): Paint {
  if (!colored) return { word: (text) => text };
  const paint = (color: number, text: string): string => `\u001b[${color}m${text}\u001b[0m`;
  return {
    word: (text) => {
      const [first = ""] = text.split(" ", 1);
      const color = good.has(first) ? 32 : fair.has(first) ? 33 : bad.has(first) ? 31 : undefined;
      return color === undefined ? text : `${paint(color, first)}${text.slice(first.length)}`;
    },
  };
}

/** JSON leaves some characters as they are that a terminal obeys; those are escaped, which means the same to a parser. */
export function json(value: unknown): string {
  return `${quietJson(JSON.stringify(value, null, 2))}\n`;
}

/** Block style; strings that YAML could read as something else are quoted. Reads back as the same value. */
export function yaml(value: unknown): string {
  return typeof value === "object" && value !== null && !isEmpty(value) ? `${block(value, "")}` : `${scalar(value)}\n`;
}

function block(value: object, indent: string): string {
  if (Array.isArray(value)) return value.map((item) => `${indent}- ${nested(item, `${indent}  `, true)}`).join("");
  return Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]) => `${indent}${scalar(key)}: ${nested(item, `${indent}  `, false)}`)
    .join("")
    .replaceAll(/: \n/g, ":\n");
}

function nested(value: unknown, indent: string, inList: boolean): string {
  if (typeof value !== "object" || value === null || isEmpty(value)) return `${scalar(value)}\n`;
  const text = block(value, indent);
  return inList ? text.slice(indent.length) : `\n${text}`;
}

function isEmpty(value: object): boolean {
  return Array.isArray(value) ? value.length === 0 : Object.values(value).every((item) => item === undefined);
}

const plainText = /^[A-Za-z_/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*$/;
const reserved = /^(?:true|false|null|yes|no|on|off|y|n|nan|inf|infinity)$/i;

function scalar(value: unknown): string {
  if (typeof value === "string") {
    if (plainText.test(value) && !reserved.test(value)) return value;
    return quotedText(value);
  }
  return Array.isArray(value) ? "[]" : typeof value === "object" && value !== null ? "{}" : String(value ?? null);
}

/** Two units at most, as kubectl: 45s, 12m, 4m2s, 3h10m, 3d4h. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units: readonly (readonly [string, number])[] = [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
    ["s", 1],
  ];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0s";
  const parts: string[] = [];
  let rest = seconds;
  for (const [unit, size] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.join("");
}

/** 1,234,567. */
export function grouped(value: number): string {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, ",");
}
