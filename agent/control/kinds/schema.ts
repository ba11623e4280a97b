// any thread · a small schema language: readers turn positioned values into typed ones, or say what is wrong and where. Pure.
import type { SourceRef } from "../../mesh/source-ref.ts";
import { type MapEntry, type Problem, quoted, type Report, type Value } from "./value.ts";

/**
 * Reads a value. `path` names it in messages ("spec.rules[0].to"). Returns undefined exactly when the value cannot be read, and has
 * then reported an error, so that a single pass finds every mistake.
 */
export type Reader<T> = (value: Value, path: string, report: Report) => T | undefined;
export type Located<T> = { readonly value: T; readonly from: SourceRef };

type SchemaField<T> = { readonly read: Reader<T>; readonly absent: { readonly value: T } | null };
// biome-ignore lint/suspicious/noExplicitAny: the usual bound for inference; every field states its own type.
type Fields = Readonly<Record<string, SchemaField<any>>>;
type ObjectOf<F extends Fields> = { readonly [K in keyof F]: F[K] extends SchemaField<infer T> ? T : never };
/** What a reader reads: `Read<typeof spec>`. */
export type Read<R> = R extends Reader<infer T> ? T : never;

export function required<T>(read: Reader<T>): SchemaField<T> {
  return { read, absent: null };
}

export function optional<T>(read: Reader<T>, absent: NoInfer<T>): SchemaField<T>;
export function optional<T>(read: Reader<T>, absent: null): SchemaField<T | null>;
export function optional<T>(read: Reader<T>, absent: T): SchemaField<T> {
  return { read, absent: { value: absent } };
}

const articles = {
  map: "a map",
  list: "a list",
  string: "a string",
  number: "a number",
  boolean: "true or false",
  null: "nothing",
} as const;

/** Reports a value of the wrong type and returns undefined. */
function wrongType(value: Value, path: string, wanted: string, report: Report): undefined {
  return report.error({
    code: "ORL4103",
    from: value.from,
    what: `${path} should be ${wanted}, but is ${articles[value.type]}`,
    why: "a value of another type would be guessed at, and a guess may open what was meant to be closed",
    fix:
      value.type === "null"
        ? "write the value, or remove the field"
        : value.type === "number" || value.type === "boolean"
          ? `write ${wanted}; a string that looks like ${articles[value.type]} needs quotes`
          : `write ${wanted}`,
  });
}

/** Reports a value of the right type that the field may not hold, and returns undefined. */
export function wrongValue(from: SourceRef, what: string, why: string, fix: string, report: Report): undefined {
  return report.error({ code: "ORL4104", from, what, why, fix });
}

/** A map with these fields and no others. */
export function object<F extends Fields>(fields: F): Reader<ObjectOf<F>> {
  const list = Object.entries(fields);
  return (value, path, report) => {
    const read = readFields(fields, list, value, path, report);
    return read === undefined || read.unreadable.length > 0 ? undefined : (read.parts as ObjectOf<F>);
  };
}

/**
 * As `object`, of a standard that grows: an API server may know fields that this release does not. In a file they are refused, with
 * their line; of an API server they are reported, and the rest of the object counts.
 */
export function growingObject<F extends Fields>(fields: F): Reader<ObjectOf<F>> {
  const list = Object.entries(fields);
  return (value, path, report) => {
    const read = readFields(fields, list, value, path, report, report.acceptance === "object");
    return read === undefined || read.unreadable.length > 0 ? undefined : (read.parts as ObjectOf<F>);
  };
}

/** A map of which these fields count, and all others are none of the mesh's business: most of a Pod is about running it. */
export function excerpt<F extends Fields>(fields: F): Reader<ObjectOf<F>> {
  const read = object(fields);
  return (value, path, report) => {
    if (value.type !== "map") return read(value, path, report);
    const entries = new Map([...value.entries].filter(([name]) => Object.hasOwn(fields, name)));
    return read({ ...value, entries }, path, report);
  };
}

export type Parts<F extends Fields> = {
  /** undefined: unreadable, or missing though required. */
  readonly parts: { readonly [K in keyof F]: ObjectOf<F>[K] | undefined };
  /** Names of those fields, and of fields that are not known. */
  readonly unreadable: readonly string[];
};

/** A map with these fields, each read for itself: a field that cannot be read is reported and named, and the others count. */
export function parts<F extends Fields>(fields: F): Reader<Parts<F>> {
  const list = Object.entries(fields);
  return (value, path, report) => readFields(fields, list, value, path, report) as Parts<F> | undefined;
}

type ReadFields = { readonly parts: Readonly<Record<string, unknown>>; readonly unreadable: readonly string[] };

function readFields(
  fields: Fields,
  list: readonly (readonly [name: string, field: SchemaField<unknown>])[],
  value: Value,
  path: string,
  report: Report,
  toleratesUnknown = false,
): ReadFields | undefined {
  if (value.type !== "map") return wrongType(value, path, "a map", report);
  const unreadable: string[] = [];
  for (const [name, entry] of value.entries) {
    if (Object.hasOwn(fields, name)) continue;
    const problem = unknownField(name, entry, path, Object.keys(fields));
    if (toleratesUnknown) report.findings.push(problem);
    else {
      unreadable.push(name);
      report.error(problem);
    }
  }
  const read: [string, unknown][] = [];
  for (const [name, field] of list) {
    const entry = value.entries.get(name);
    if (entry) {
      const part = field.read(entry.value, path === "" ? name : `${path}.${name}`, report);
      if (part === undefined) unreadable.push(name);
      else read.push([name, part]);
    } else if (field.absent) read.push([name, field.absent.value]);
    else {
      unreadable.push(name);
      report.error({
        code: "ORL4103",
        from: value.from,
        what: `${path === "" ? "the document" : path} lacks ${quoted(name)}`,
        why: "there is no safe default for it",
        fix: `add ${name}`,
      });
    }
  }
  return { parts: Object.fromEntries(read), unreadable };
}

function unknownField(name: string, { keyFrom }: MapEntry, path: string, names: readonly string[]): Problem {
  return {
    code: "ORL4102",
    from: keyFrom,
    what: `${path} has no field ${quoted(name)}`,
    why: "a field nobody reads would look as if it were in force",
    fix: `fields here: ${names.join(", ")}${nearest(name, names)}`,
  };
}

function nearest(name: string, names: readonly string[]): string {
  const found = names.find(
    (candidate) => candidate.toLowerCase() === name.toLowerCase() || editDistance(candidate, name) <= 2,
  );
  return found === undefined ? "" : `; did you mean ${found}?`;
}

/** Levenshtein distance, for short names only: 3 means anything longer. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2 || b.length > 64) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 3;
}

type Limits = { readonly max?: number; readonly min?: number };

export function list<T>(item: Reader<T>, limits: Limits = {}): Reader<readonly T[]> {
  const readItems = eachOf(item, limits);
  return (value, path, report) => {
    const items = readItems(value, path, report);
    const read = items?.filter((item) => item !== undefined);
    return read?.length === items?.length ? read : undefined;
  };
}

/** A list of which each item is read for itself; undefined in the place of an item that cannot be read. */
export function eachOf<T>(item: Reader<T>, { max = 10_000, min = 0 }: Limits = {}): Reader<readonly (T | undefined)[]> {
  return (value, path, report) => {
    if (value.type !== "list") return wrongType(value, path, "a list", report);
    if (value.items.length > max || value.items.length < min) {
      const bound = value.items.length > max ? `at most ${max}` : `at least ${min}`;
      return wrongValue(
        value.from,
        `${path} has ${value.items.length} entries, and may have ${bound}`,
        "the limit keeps judging a connection cheap and a mistake visible",
        `keep ${bound}`,
        report,
      );
    }
    return value.items.map((element, index) => item(element, `${path}[${index}]`, report));
  };
}

/** A map of names the schema does not know, such as labels. */
export function mapOf<T>(item: Reader<T>, key?: Reader<string>): Reader<Readonly<Record<string, T>>> {
  return (value, path, report) => {
    if (value.type !== "map") return wrongType(value, path, "a map", report);
    const out: [string, T][] = [];
    for (const [name, entry] of value.entries) {
      const readKey = key ? key({ type: "string", value: name, from: entry.keyFrom }, `${path} key`, report) : name;
      const read = item(entry.value, `${path}.${name}`, report);
      if (read !== undefined && readKey !== undefined) out.push([readKey, read]);
    }
    // Object.fromEntries defines own properties, so "__proto__" as a key is harmless.
    return out.length === value.entries.size ? Object.fromEntries(out) : undefined;
  };
}

/** Longest string any field may hold, in UTF-16 units. */
const STRING_MAX = 4_096;

export const string: Reader<string> = (value, path, report) => {
  if (value.type !== "string") return wrongType(value, path, "a string", report);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control bytes are what is looked for.
  if (value.value.length > STRING_MAX || /[\u0000-\u001f\u007f]/.test(value.value)) {
    return wrongValue(
      value.from,
      `${path} is too long or holds a control byte`,
      "such text could forge a log line or a header",
      `write at most ${STRING_MAX} printable characters`,
      report,
    );
  }
  return value.value;
};

/** A string that `accept` turns into a T; undefined from `accept` is reported with `why` and `fix`. */
export function text<T>(what: string, accept: (text: string) => T | undefined, why: string, fix: string): Reader<T> {
  return (value, path, report) => {
    const read = string(value, path, report);
    if (read === undefined) return undefined;
    return accept(read) ?? wrongValue(value.from, `${path}: ${quoted(read)} is not ${what}`, why, fix, report);
  };
}

export const boolean: Reader<boolean> = (value, path, report) =>
  value.type === "boolean" ? value.value : wrongType(value, path, "true or false", report);

export function integer(min: number, max: number): Reader<number> {
  return (value, path, report) => {
    if (value.type !== "number") return wrongType(value, path, "a whole number", report);
    if (Number.isInteger(value.value) && value.value >= min && value.value <= max) return value.value;
    return wrongValue(
      value.from,
      `${path}: ${value.value} is not a whole number from ${min} to ${max}`,
      "it would be cut to something else",
      `write a whole number from ${min} to ${max}`,
      report,
    );
  };
}

export function oneOf<const T extends string>(...choices: readonly T[]): Reader<T> {
  return (value, path, report) => {
    const read = string(value, path, report);
    if (read === undefined) return undefined;
    const found = choices.find((choice) => choice === read);
    if (found !== undefined) return found;
    return wrongValue(
      value.from,
      `${path}: ${quoted(read)} is not one of ${choices.join(", ")}`,
      "an unknown word cannot be put into force",
      `write one of them${nearest(read, choices)}`,
      report,
    );
  };
}

/** The value together with its position. */
export function located<T>(read: Reader<T>): Reader<Located<T>> {
  return (value, path, report) => {
    const inner = read(value, path, report);
    return inner === undefined ? undefined : { value: inner, from: value.from };
  };
}

/** A field that carries nothing for a mesh (status, managedFields): taken as it is, never looked at. */
export const ignored: SchemaField<null> = { read: () => null, absent: { value: null } };

/** A field of the standard that is not honoured yet: read by its own schema, and reported. True when present. */
export function unsupported<T>(
  read: Reader<T>,
  why: string,
  fix = "remove the field, or accept that it has no effect",
): SchemaField<boolean> {
  return {
    read: (value, path, report) => {
      if (read(value, path, report) === undefined) return undefined;
      report.unsupported(value.from, `${path} is not honoured`, why, fix);
      return true;
    },
    absent: { value: false },
  };
}

/** A field of the standard that is not honoured yet, and without which the rest would mean something else: it refuses the object. */
export function notHonoured(why: string, fix: string): SchemaField<null> {
  return {
    read: (value, path, report) =>
      report.error({ code: "ORL4106", from: value.from, what: `${path} is not honoured`, why, fix }),
    absent: { value: null },
  };
}

/** Any value at all, unread. */
export const anything: Reader<null> = () => null;
