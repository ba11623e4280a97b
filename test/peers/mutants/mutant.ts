// test peers · makes a mutant out of a seed: one to three pipelined requests. Four of ten requests are honest; the others have faults in
// request line, fields, framing or body, as smugglers send them. Each target holds the mutant's number, and what lies behind a place
// where a reader may end a message wrongly asks for a path that the policy denies. Pure.
import { mutated, type Random, seeded } from "../../fuzz/mutate.ts";
import { bodyOf, type Framed } from "./bodies.ts";
import * as lines from "./lines.ts";

export type Mutant = {
  readonly id: number;
  readonly bytes: Buffer;
  /** Offsets at which the sender pauses. */
  readonly cuts: readonly number[];
};

const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)] as T;
const chance = (random: Random, percent: number): boolean => random(100) < percent;

function requestLine(random: Random, target: string, hostile: boolean): string {
  const method = pick(random, lines.methods);
  const line = pick(random, hostile ? lines.hostileRequestLines : lines.honestRequestLines);
  return line.replaceAll("{M}", method).replaceAll("{m}", method.toLowerCase()).replaceAll("{T}", target);
}

/** Number of faults in a request. */
const faultsOf = (random: Random): number => pick(random, [0, 0, 0, 0, 1, 1, 1, 1, 2, 3]);

function request(random: Random, id: number, nth: number): string {
  let faults = faultsOf(random);
  const fault = (percent: number): boolean => {
    if (faults === 0 || !chance(random, percent)) return false;
    faults--;
    return true;
  };
  const canary = `GET /denied/${id} HTTP/1.1\r\nHost: a\r\n\r\n`;
  const start = requestLine(random, `/m/${id}/${nth}`, fault(12));
  const framed: Framed = bodyOf(random, canary, fault(40));
  const fields = Array.from({ length: random(5) }, () => pick(random, lines.honestFields));
  fields.splice(random(fields.length + 1), 0, fault(10) ? pick(random, lines.hostileHosts) : pick(random, lines.hosts));
  fields.splice(random(fields.length + 1), 0, ...framed.fields);
  while (fault(70)) fields.splice(random(fields.length + 1), 0, pick(random, lines.hostileFields));
  const ends = fields.map(() => "\r\n");
  if (fault(50)) ends[random(ends.length)] = pick(random, lines.hostileEnds);
  const head = `${start}\r\n${fields.map((field, at) => field + ends[at]).join("")}${fault(30) ? pick(random, lines.hostileHeadEnds) : "\r\n"}`;
  return head + framed.body + (chance(random, 10) ? pick(random, lines.between) : "");
}

/** The same seed and number always make the same mutant: sender and judge need not exchange them. */
export function mutantOf(seed: number, id: number): Mutant {
  const random = seeded((seed ^ Math.imul(id + 1, 0x9e3779b1)) >>> 0);
  const count = pick(random, [1, 1, 2, 3]);
  let text = chance(random, 4) ? pick(random, lines.before) : "";
  for (let nth = 0; nth < count; nth++) text += request(random, id, nth);
  let bytes = Buffer.from(text, "latin1");
  if (chance(random, 6)) bytes = Buffer.from(mutated(bytes, Buffer.from(`GET /denied/${id} HTTP/1.1\r\n`), random));
  if (bytes.length === 0) bytes = Buffer.from("GET");
  const cuts = chance(random, 25) ? Array.from({ length: 1 + random(3) }, () => random(bytes.length)) : [];
  return { id, bytes, cuts: cuts.sort((a, b) => a - b) };
}
