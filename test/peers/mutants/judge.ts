// test peers · compares what an origin noted with what the agent must have let pass: every request once, with the same method, target,
// host and body, and nothing that the policy denies. Pure.
import type { AccessEntry } from "../../../demo/mesh/mesh-run.ts";
import type { Reading } from "./origins.ts";
import { type Asked, allowedTarget, type Connection } from "./reading.ts";

export type Read = { readonly id: number; readonly connection: Connection };
export type Judgement = {
  /** Each a sentence with a mutant's number where it is known. */
  readonly disagreements: readonly string[];
  /** Mutants of which the origin answered at least one request. */
  readonly accepted: number;
  /** Requests that the origin refused although the agent let them pass. */
  readonly refused: number;
};

/** A request that one origin should get, or that the agent should deny; `state`: what the origin noted of it. */
export type Expected = { readonly id: number; readonly request: Asked; state: "unseen" | "answered" | "refused" };

const isDenied = (path: string): boolean => /^\/denied(?:[/;?]|$)/.test(path);
const isError = ({ status }: Reading): boolean => status >= 400;
const nameOf = ({ method, target }: Pick<Reading, "method" | "target">): string => `${method} ${target}`;

export const expect = (reads: readonly Read[]): Expected[][] =>
  reads.map(({ id, connection }) => connection.requests.map((request) => ({ id, request, state: "unseen" })));

/** Its target names its mutant, so nothing else is taken for it. */
const isNamed = ({ id, request }: Pick<Expected, "id" | "request">): boolean => request.target.startsWith(`/m/${id}/`);

/** The origin may end the connection behind this request; or its target does not name it, so its fate is not known. */
const mayBeLast = ({ id, request, state }: Expected): boolean =>
  !request.denied && (state === "refused" || request.oldVersion || !isNamed({ id, request }));

/**
 * What the agent itself says to an application before anything of the caller's, where its caller begins as HTTP/2 does (RFC 9113 section
 * 3.4). An origin of HTTP/1 refuses it as a request.
 */
const isPreface = ({ method, target }: Reading): boolean => method === "PRI" && target === "*";

/** Requests of a connection that certainly were read. */
function certain(connection: readonly Expected[]): readonly Expected[] {
  const last = connection.findIndex(mayBeLast);
  return last < 0 ? connection : connection.slice(0, last + 1);
}

export function judge(
  origin: string,
  expected: readonly (readonly Expected[])[],
  readings: readonly Reading[],
): Judgement {
  const disagreements: string[] = [];
  const differ = (what: string, reading: Reading): void =>
    void disagreements.push(`${origin} ${what}: ${JSON.stringify(reading)}`);
  const forwarded = expected.flat().filter(({ request }) => !request.denied);
  const byName = Map.groupBy(forwarded, ({ request }) => nameOf(request));
  let nameless = 0;
  // What was answered says which request it was; what was refused is of those that are left then. Mutants may change what names them.
  const answeredFirst = readings.toSorted((a, b) => Number(isError(a)) - Number(isError(b)));
  for (const reading of answeredFirst) {
    const unseen = byName.get(nameOf(reading))?.filter(({ state }) => state === "unseen") ?? [];
    if (isDenied(reading.normal)) differ("has read what is denied", reading);
    else if (isError(reading)) {
      // Of a line that it does not like, an origin may note only the beginning.
      const isBegun = ({ request, state }: Expected): boolean =>
        state === "unseen" && reading.target !== "" && nameOf(request).startsWith(nameOf(reading));
      const met = unseen[0] ?? forwarded.find(isBegun);
      if (met !== undefined) met.state = "refused";
      else if (reading.target === "") nameless++;
      else if (!isPreface(reading)) differ("refuses what was not sent", reading);
    } else {
      const met = unseen.find(({ request }) => {
        // Apache answers OPTIONS * by itself, and counts no body.
        const sameBody = reading.target === "*" || (request.length === reading.length && request.md5 === reading.md5);
        return request.whole && sameBody && request.host.toLowerCase() === reading.host.toLowerCase();
      });
      if (met !== undefined) met.state = "answered";
      else if (reading.target !== "*" && allowedTarget(reading.target) === undefined)
        differ("has read what is denied", reading);
      else differ("has read something else", reading);
    }
  }
  const missing = expected.flatMap(certain).filter(({ id, request, state }) => {
    return state === "unseen" && request.whole && !request.denied && isNamed({ id, request });
  });
  if (missing.length > nameless) {
    disagreements.push(...missing.map(({ id, request }) => `${origin} has not read ${id}: ${JSON.stringify(request)}`));
  }
  return {
    disagreements,
    accepted: expected.filter((connection) => connection.some(({ state }) => state === "answered")).length,
    refused: forwarded.filter(({ state }) => state === "refused").length + nameless,
  };
}

/** How often the log may have a denial or refusal, and how often it has it. */
type Bounds = { least: number; most: number; seen: number };

/** As the log has it (agent/observe/access-log.ts). */
const logged = (text: string): string => (text.length > 512 ? `${text.slice(0, 512)}…` : text);

/**
 * Compares the agent's access log with what it must have denied, refused, and let pass to an answer. Behind a request after which an
 * origin may end the connection, lines are allowed and not required.
 */
export function judgeLog(
  reads: readonly Read[],
  expected: readonly (readonly Expected[])[],
  log: readonly AccessEntry[],
): readonly string[] {
  const counts = new Map<string, Bounds>();
  const of = (what: string): Bounds => {
    const known = counts.get(what) ?? { least: 0, most: 0, seen: 0 };
    counts.set(what, known);
    return known;
  };
  const expectOf = (what: string, isSure: boolean): void => {
    const bounds = of(what);
    bounds.most++;
    if (isSure) bounds.least++;
  };
  for (const [nth, connection] of expected.entries()) {
    const sure = certain(connection);
    for (const each of connection) {
      const { method, path, denied, whole, length } = each.request;
      // Where its body is cut, the connection may end before the denial is on its way.
      if (denied) expectOf(`denied ${logged(path)}`, whole && sure.includes(each));
      else if (whole)
        expectOf(
          `answered ${logged(method)} ${logged(path)} with ${length} bytes`,
          isNamed(each) && each.state === "answered",
        );
    }
    const refusal = reads[nth]?.connection.refusal ?? "";
    if (refusal === "cut") expectOf("refused head-end", false);
    else if (refusal !== "" && refusal !== "not-http") expectOf(`refused ${refusal}`, !connection.some(mayBeLast));
  }
  for (const entry of log) {
    const { method, path, reason, response_flags: flag, response_code_details: details, bytes_received: bytes } = entry;
    if (reason !== undefined) of(`denied ${path}`).seen++;
    else if (flag === "DPE") of(`refused ${entry.refusal}`).seen++;
    // An origin may refuse a request before its body has come, also when the body never comes.
    else if (details === "via_upstream" && Number(entry.response_code) < 400)
      of(`answered ${method} ${path} with ${bytes} bytes`).seen++;
  }
  return [...counts].flatMap(([what, { least, most, seen }]) =>
    seen >= least && seen <= most ? [] : [`the agent's log has ${what} ${seen} times, not ${least} to ${most}`],
  );
}

/** The requests that an origin answered, as text, by the number of their mutant. */
export function answeredBy(readings: readonly Reading[]): ReadonlyMap<number, string> {
  const answered = new Map<number, string>();
  for (const reading of readings) {
    const id = Number(/\/(\d+)(?:\/|$)/.exec(reading.target)?.[1] ?? -1);
    if (isError(reading) || id < 0) continue;
    const path = reading.target.replace(/^https?:\/\/[^/?]*/i, "");
    answered.set(id, `${answered.get(id) ?? ""}${reading.method} ${path} ${reading.length}\n`);
  }
  return answered;
}

/** Number of mutants that two origins both answer and read as different requests. */
export function readDifferently(count: number, origins: readonly ReadonlyMap<number, string>[]): number {
  let differs = 0;
  for (let id = 0; id < count; id++) {
    const said = origins.map((answered) => answered.get(id)).filter((text) => text !== undefined);
    if (new Set(said).size > 1) differs++;
  }
  return differs;
}
