// any thread · what only a single object may have: an address, a pod, a virtual address. Of each who claims it, and what is to be said of
// claims that several have. Pure but for its state.
import { Claims } from "../../mesh/ownership.ts";
import { comparePositions, positionText, type SourceRef } from "../../mesh/source-ref.ts";
import { nameOf, type ParsedObject } from "./parsed-object.ts";
import { type Acceptance, type Problem, Report, wrong } from "./value.ts";

type Positioned = { readonly from: SourceRef };
export const byPosition = (a: Positioned, b: Positioned): number => comparePositions(a.from, b.from);
export const precedes = (a: Positioned, b: Positioned): boolean => byPosition(a, b) < 0;

export class ObjectClaims {
  readonly #byAddress = new Claims<ParsedObject>(precedes);
  /** Of this node's pods alone. */
  readonly #byPodUid = new Claims<ParsedObject>(precedes);
  readonly #byVip = new Claims<ParsedObject>(precedes);

  add(parsed: ParsedObject): void {
    for (const key of addressKeys(parsed)) this.#byAddress.add(key, parsed);
    for (const uid of podUidsOf(parsed)) this.#byPodUid.add(uid, parsed);
    for (const vip of vipsOf(parsed)) this.#byVip.add(vip, parsed);
  }

  remove(parsed: ParsedObject): void {
    for (const key of addressKeys(parsed)) this.#byAddress.remove(key, parsed);
    for (const uid of podUidsOf(parsed)) this.#byPodUid.remove(uid, parsed);
    for (const vip of vipsOf(parsed)) this.#byVip.remove(vip, parsed);
  }

  /**
   * By claim, what is wrong with the claims of these objects: ids, addresses, pods and virtual addresses that have several claimants.
   * Where all objects are accepted together, every claim had one claimant before, so that a conflict involves an object that came.
   * @param known.isKnown something was wrong with that claim before
   */
  rivalries(
    touched: readonly (readonly ParsedObject[])[],
    byId: Claims<ParsedObject>,
    known: { readonly acceptance: Acceptance; readonly isKnown: (key: string) => boolean },
  ): Map<string, readonly Problem[]> {
    const problems = new Map<string, readonly Problem[]>();
    const look = (
      what: string,
      claimsOf: (parsed: ParsedObject) => readonly string[],
      held: Claims<ParsedObject>,
      report: (claim: string, rival: ParsedObject, first: ParsedObject, into: Report) => void,
    ): void => {
      for (const objects of touched)
        for (const parsed of objects)
          for (const claim of claimsOf(parsed)) {
            const [first, ...rivals] = held.all(claim);
            const key = `${what} ${claim}`;
            if (problems.has(key) || (rivals.length === 0 && !known.isKnown(key))) continue;
            const into = new Report(known.acceptance);
            if (first !== undefined) for (const rival of rivals) report(claim, rival, first, into);
            problems.set(key, into.problems);
          }
    };
    look(
      "id",
      ({ id }) => [id],
      byId,
      (_, rival, first, into) => {
        const what = `${nameOf(rival)} stands here and at ${positionText(first.from)}`;
        wrong(rival.from, what, "only one of them could be in force", "keep one", into);
      },
    );
    look("address", addressKeys, this.#byAddress, (key, rival, first, into) => {
      if (rival.id === first.id) return;
      const what = `${key.slice(key.lastIndexOf("/") + 1)} belongs to ${nameOf(first)} already`;
      const why = "an address names one identity; with two owners it would name either";
      wrong(rival.from, what, why, "give each workload its own addresses", into);
    });
    look("pod", podUidsOf, this.#byPodUid, (uid, rival, first, into) => {
      if (rival.id === first.id) return;
      const what = `pod ${uid} belongs to ${nameOf(first)} already`;
      const why = "a pod has one identity; with two workloads it would have either";
      wrong(rival.from, what, why, "give each workload the UID of its own pod", into);
    });
    look("vip", vipsOf, this.#byVip, (vip, rival, first, into) => {
      if (rival.id === first.id) return;
      const what = `${vip} is the address of ${first.id} already`;
      wrong(rival.from, what, "a connection could go to either", "give each Service its own", into);
    });
    return problems;
  }
}

function addressKeys(parsed: ParsedObject): readonly string[] {
  if (parsed.kind !== "Workload") return [];
  const { network, addresses } = parsed.value;
  return network === "" ? addresses : addresses.map((address) => `${network}/${address}`);
}

function podUidsOf(parsed: ParsedObject): readonly string[] {
  return parsed.kind === "Workload" && parsed.value.podUid !== "" ? [parsed.value.podUid] : [];
}

function vipsOf(parsed: ParsedObject): readonly string[] {
  return parsed.kind === "Service" ? (parsed.value?.vips ?? []) : [];
}
