// 9 · any thread · each field of a rule that a request shows as one check, made once per policy. Pure.
import { canonicalEscapes, canonicalHost, decodedPath } from "../l7/canonical.ts";
import { pathTemplate } from "../l7/path-template.ts";
import type { RequestFacts } from "../mesh/facts.ts";
import type { PathMatch, StringMatch } from "../mesh/policies.ts";
import { joinedValues } from "./joined-values.ts";
import type { RuleCheck } from "./rule-checks.ts";
import { sentForms, sentInUtf8 } from "./sent-values.ts";
import { anyOf, anyTest, type TextTest, wanted, written } from "./text-match.ts";

/** `not`: the check holds when no value matches. `denies`: the rule is of a DENY or AUDIT, not of an ALLOW. */
export type RequestCheckOptions = { readonly not: boolean; readonly denies: boolean };

/** Whether any value of the list matches; null: the request does not say clearly what is compared. */
type RequestMatch = (request: RequestFacts) => boolean | null;

type RequestRead = {
  readonly match: RequestMatch;
  readonly got: (request: RequestFacts) => string;
  readonly text?: "path" | "host";
};

/** Longest text of a request in a sentence for people, in characters. */
const MOST_SHOWN = 200;

/**
 * Where a text has several readings, the wide match takes any of them and the narrow match takes all. A rule that denies must not
 * be passed by choosing a reading, and nobody may be let in by a reading that the application does not share.
 */
function isWide({ not, denies }: RequestCheckOptions): boolean {
  return denies !== not;
}

/**
 * The check in its three readings. Strict: it holds, and `CompiledRule.neverStrict` keeps an ALLOW rule from matching. Lenient: it
 * never denies and never stops an ALLOW. Exact: by the request; what is not clear denies, and allows nobody.
 */
function requestCheck(
  field: string,
  matches: readonly PathMatch[],
  { not, denies }: RequestCheckOptions,
  { match, got, text }: RequestRead,
): RuleCheck {
  let asked: string | undefined;
  return {
    needs: "request",
    field,
    ...(text === undefined ? {} : { text }),
    holds: ({ request }) => {
      if (request === "strict") return true;
      if (request === "lenient") return !denies;
      const matched = match(request);
      return matched === null ? denies : matched !== not;
    },
    want: () => {
      // A flood of refused requests asks for the same text each time.
      asked ??= wanted(matches.map(written), not);
      return asked;
    },
    got: ({ request }) => (typeof request === "string" ? "no HTTP request" : got(request)),
  };
}

/**
 * Methods have a case (RFC 9110 section 9.1), but some applications read them without: a DENY of POST takes `post`, too. A rule of `post`
 * means POST; in an ALLOW it matches nothing that clients send.
 */
export function methodCheck(field: string, methods: readonly StringMatch[], options: RequestCheckOptions): RuleCheck {
  const isAny = isWide(options);
  const test = anyOf(isAny ? methods.map(inUpperCase) : methods);
  const match: RequestMatch = isAny ? ({ method }) => test(method.toUpperCase()) : ({ method }) => test(method);
  return requestCheck(field, methods, options, { match, got: ({ method }) => shown(method) });
}

const inUpperCase = (match: StringMatch): StringMatch =>
  match.kind === "presence" ? match : { kind: match.kind, value: match.value.toUpperCase() };

/** A host matches by its name, or by `name:port` where the caller wrote a port. */
export function hostCheck(field: string, hosts: readonly StringMatch[], options: RequestCheckOptions): RuleCheck {
  return requestCheck(field, hosts, options, {
    text: "host",
    match: hostTest(hosts),
    got: ({ host: { text, ambiguity } }) => (ambiguity === null ? shown(text) : "no readable host"),
  });
}

function hostTest(hosts: readonly StringMatch[]): RequestMatch {
  const test = anyOf(hosts.map(canonicalHostMatch));
  return ({ host: { readings } }) => (readings.length === 0 ? null : readings.some(test));
}

/** Lower case; of an exact host its canonical form, with the port if one is written. */
export function canonicalHostMatch(match: StringMatch): StringMatch {
  if (match.kind === "presence") return match;
  const value = match.kind === "exact" ? canonicalHost(match.value).readings.at(-1) : undefined;
  return { kind: match.kind, value: value ?? match.value.toLowerCase() };
}

/**
 * Any of `paths` on a path of this form.
 * @throws when a template cannot be read: such a list is nobody's to judge (`hiddenFields`).
 */
export function pathTest(paths: readonly PathMatch[], form: (text: string) => string = canonicalEscapes): TextTest {
  return anyTest([
    anyOf(paths.flatMap((match) => (match.kind === "template" ? [] : [matchOfForm(match, form)]))),
    ...paths.flatMap((match) => (match.kind === "template" ? [templateTest(match.value, form)] : [])),
  ]);
}

/** @throws as `pathTest` does. */
export function pathCheck(field: string, paths: readonly PathMatch[], options: RequestCheckOptions): RuleCheck {
  const test = pathTest(paths);
  const isAny = isWide(options);
  // Of most rules and most requests both forms are the same.
  const decodes = isAny && paths.some((match) => match.kind !== "presence" && decodedPath(match.value) !== match.value);
  const decodedTest = isAny ? pathTest(paths, decodedPath) : test;
  const testAny: TextTest = (path) => test(path) || ((decodes || path.includes("%")) && decodedTest(decodedPath(path)));
  return requestCheck(field, paths, options, {
    text: "path",
    match: ({ path: { readings } }) =>
      readings.length === 0 ? null : isAny ? readings.some(testAny) : readings.every(test),
    got: ({ path: { text, ambiguity } }) =>
      ambiguity === null ? shown(text) : `an ambiguous path (${ambiguity}): ${shown(text)}`,
  });
}

function matchOfForm(match: StringMatch, form: (text: string) => string): StringMatch {
  return match.kind === "presence" ? match : { kind: match.kind, value: form(match.value) };
}

function templateTest(template: string, form: (text: string) => string): TextTest {
  const test = pathTemplate(template, form);
  if (test === undefined) throw new Error(`${template} is no template of a path`);
  return test;
}

/**
 * A field sent several times matches widely by any value or by all joined with commas, as RFC 9110 section 5.3 joins them, and
 * narrowly by the joined form or by every value. A field with an empty value is there, so the wide `*` takes it. Fields whose names an
 * application may take for this name count widely; narrowly the field itself must match, and with them, too. The field Host counts widely
 * in each spelling of the host (`canonicalHost`).
 */
export function headerCheck(
  field: string,
  name: string,
  { values, options }: { readonly values: readonly StringMatch[]; readonly options: RequestCheckOptions },
): RuleCheck {
  const isAny = isWide(options);
  const test = anyOf(isAny ? values.flatMap((match) => sentForms(name, match)) : values.map(sentInUtf8));
  const asksPresence = values.some(({ kind }) => kind === "presence");
  const testHost = isAny && name === "host" ? hostTest(values) : () => false;
  return requestCheck(field, values, options, {
    match: (request) => {
      const { header } = request;
      const isHost = testHost(request);
      if (isHost !== false) return isHost;
      const alike = header(name, "alike");
      if (alike.length === 0) return false;
      if (isAny && asksPresence) return true;
      const sent = header(name);
      if (isAny) return alike.some(test) || joinedMatches(alike, test) || joinedMatches(sent, test);
      return sent.length > 0 && narrowly(sent, test) && (sent.length === alike.length || narrowly(alike, test));
    },
    // Values of headers may be secrets, and this text goes into logs.
    got: ({ header }) => ["no such header", "another value"][header(name, "alike").length] ?? "other values",
  });
}

const joinedMatches = (sent: readonly string[], test: TextTest): boolean => sent.length > 1 && test(joinedValues(sent));

const narrowly = (sent: readonly string[], test: TextTest): boolean => sent.every(test) || joinedMatches(sent, test);

const unprintable = /[^\x20-\x7e…]/;

/** A text that a caller chose, for a log and a terminal. */
function shown(text: string): string {
  const clipped = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
  return unprintable.test(clipped) ? clipped.replace(/[^\x20-\x7e…]/g, "?") : clipped;
}
