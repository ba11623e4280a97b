// 8 · any thread · choose one endpoint of a Service: health, locality rank, weight, the less loaded of two. Pure; random
// numbers and load are handed in.
import type { LoadBalancing, LocalityPreference } from "../mesh/service.ts";
import type { Workload } from "../mesh/workload.ts";

/** One address that answers for a Service's port. */
export type Candidate = {
  /** Whom the address belongs to; null: nobody of the mesh. */
  readonly workload: Workload | null;
  readonly address: string;
  /** The target port, already resolved. */
  readonly port: number;
  /** Share of new connections; ≥ 0. An endpoint of weight 0 is never chosen. */
  readonly weight: number;
  readonly healthy: boolean;
};

/** What is known of the client for the locality rank. */
export type ClientPlace = Pick<Workload, "network" | "locality" | "node" | "cluster">;

export type Choice = {
  readonly from: ClientPlace;
  readonly loadBalancing: LoadBalancing;
  /** The lower is chosen: connections of this thread that are open or being opened to the candidate, or what it costs a request. */
  readonly load: (candidate: Candidate) => number;
  /** A third is asked, too, and takes the place of the better of two that is clearly worse; absent: it is not. */
  readonly asksThird?: boolean;
  /** "turn": the next in the order of the candidates. "draw": any, by weight. "key": of its key. Absent: the less loaded of two. */
  readonly among?:
    | { readonly kind: "turn"; readonly turn: number }
    | { readonly kind: "draw" }
    | { readonly kind: "key"; readonly pick: (eligible: readonly Candidate[]) => Candidate | undefined };
  /** Uniform in [0, 1). */
  readonly random: () => number;
};

/** The endpoint for a new connection, or for a request; undefined: nobody may be chosen. */
export function chooseEndpoint(candidates: readonly Candidate[], choice: Choice): Candidate | undefined {
  return chooseAmong(eligibleEndpoints(candidates, choice), choice);
}

/** The same of candidates that are known to be eligible. */
export function chooseAmong(
  eligible: readonly Candidate[],
  choice: Omit<Choice, "from" | "loadBalancing">,
): Candidate | undefined {
  const [only] = eligible;
  if (eligible.length < 2) return only;
  const { among } = choice;
  if (among?.kind === "draw") return drawByWeight(eligible, null, choice.random);
  if (among?.kind === "key") return among.pick(eligible);
  if (among?.kind === "turn") return inTurn(eligible, among.turn);
  const first = drawByWeight(eligible, null, choice.random);
  const second = drawByWeight(eligible, first, choice.random);
  if (first === undefined || second === undefined) return first;
  const [one, other] = [choice.load(first) / first.weight, choice.load(second) / second.weight];
  // Ties keep the first draw, so that an idle service is shared exactly by weight.
  const better = other < one ? second : first;
  if (choice.asksThird !== true || eligible.length < 3) return better;
  // It may be the second again, which changes nothing.
  const third = drawByWeight(eligible, first, choice.random);
  return third !== undefined && CLEARLY * (choice.load(third) / third.weight) < Math.min(one, other) ? third : better;
}

/**
 * Of ten endpoints of which two are bad, both are drawn together for one request of 45: that alone would be more than such endpoints are to
 * have. Below this the better of two stays, since the best of three of a Service's few would have everything.
 */
const CLEARLY = 2;

/** The candidates that may be chosen: healthy, with a weight, of the best locality rank. */
export function eligibleEndpoints(
  candidates: readonly Candidate[],
  choice: Pick<Choice, "from" | "loadBalancing">,
): readonly Candidate[] {
  return bestRanked(usable(candidates, choice.loadBalancing), choice);
}

/** The candidates that may be chosen for some client: healthy, with a weight. */
export function usable(candidates: readonly Candidate[], policy: LoadBalancing): readonly Candidate[] {
  const isUsable = ({ weight, healthy }: Candidate): boolean =>
    weight > 0 && (healthy || policy.health === "allow-all");
  // Each request comes by here, and mostly all of them are.
  return candidates.every(isUsable) ? candidates : candidates.filter(isUsable);
}

/**
 * Rank is the number of consecutive preferences matched from the start; strict wants all, failover the most there is
 * (docs/reference/hbone.md#endpoints-of-a-service).
 */
function bestRanked(
  candidates: readonly Candidate[],
  choice: Pick<Choice, "from" | "loadBalancing">,
): readonly Candidate[] {
  const { preference, mode } = choice.loadBalancing;
  if (preference.length === 0 || (mode !== "strict" && mode !== "failover")) return candidates;
  let best = mode === "strict" ? preference.length : 0;
  let found: Candidate[] = [];
  for (const candidate of candidates) {
    const rank = rankOf(candidate, choice.from, preference);
    if (rank < best) continue;
    if (rank > best) {
      best = rank;
      found = [];
    }
    found.push(candidate);
  }
  return found;
}

/** How many preferences, counted from the first, client and candidate share. Of an address nobody knows: none. */
export function rankOf(candidate: Candidate, from: ClientPlace, preference: readonly LocalityPreference[]): number {
  const there = candidate.workload;
  if (there === null) return 0;
  let rank = 0;
  for (const scope of preference) {
    if (!sharedScope[scope](from, there)) break;
    rank += 1;
  }
  return rank;
}

const sharedScope: Readonly<Record<LocalityPreference, (here: ClientPlace, there: ClientPlace) => boolean>> = {
  network: (here, there) => here.network === there.network,
  region: (here, there) => here.locality.region === there.locality.region,
  zone: (here, there) => here.locality.zone === there.locality.zone,
  subzone: (here, there) => here.locality.subzone === there.locality.subzone,
  node: (here, there) => here.node === there.node,
  cluster: (here, there) => here.cluster === there.cluster,
};

/** Of equal weights each in its turn. Of others the shares are those of the weights, spread as evenly as the golden ratio does. */
function inTurn(candidates: readonly Candidate[], turn: number): Candidate | undefined {
  const [first] = candidates;
  if (candidates.every(({ weight }) => weight === first?.weight)) return candidates[turn % candidates.length];
  return drawByWeight(candidates, null, () => (turn * GOLDEN) % 1);
}
const GOLDEN = (Math.sqrt(5) - 1) / 2;

function drawByWeight(
  candidates: readonly Candidate[],
  without: Candidate | null | undefined,
  random: () => number,
): Candidate | undefined {
  let total = 0;
  for (const candidate of candidates) if (candidate !== without) total += candidate.weight;
  let point = random() * total;
  let last: Candidate | undefined;
  for (const candidate of candidates) {
    if (candidate === without) continue;
    last = candidate;
    point -= candidate.weight;
    if (point < 0) return candidate;
  }
  // Only rounding leads here: the last candidate's share ends at the total.
  return last;
}
