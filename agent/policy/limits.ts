// 9 · data thread · the limits about one request, after ALLOW: each that counts it must admit it. State: buckets, which all data threads share.
import type { ConnectionFacts, RequestFacts } from "../mesh/facts.ts";
import type { Workload } from "../mesh/workload.ts";
import { type CompiledLimit, counts, keyText } from "./compile-limit.ts";
import type { RuleRef } from "./decision.ts";
import { type ConnectionOfRequest, type RequestVerdict, refusalAnswers } from "./judge-request.ts";
import { LimitCells } from "./limit-cells.ts";

/** `over`: the first limit that refuses it, and until when; null: none does. `shadowed`: those that would have, were they enforced. */
export type LimitVerdict = {
  readonly over: { readonly ref: RuleRef; readonly waitNs: bigint } | null;
  readonly shadowed: readonly RuleRef[];
};

/** Of a request that policy allows. It is counted with each call. */
export type JudgeLimits = (connection: ConnectionOfRequest, request: RequestFacts) => LimitVerdict;

const nobody: readonly RuleRef[] = Object.freeze([]);
const admitted: LimitVerdict = Object.freeze({ over: null, shadowed: nobody });
/** Hashes of keys that are remembered for one limit and one pod, and pods; then it begins anew. */
const MOST_HASHES = 256;
const MOST_PODS = 64;

/** `hashes`: by the destination's uid, then by the text of the key. */
type LimitBuckets = { readonly cells: LimitCells; readonly hashes: Map<string, Map<string, bigint>> };
type Charged = { readonly cells: LimitCells; readonly key: bigint; readonly limit: CompiledLimit };

export class RequestLimits {
  readonly #byName = new Map<string, LimitBuckets>();
  readonly #nowNs: () => bigint;

  /** @param nowNs monotonic, of a clock that all data threads share */
  constructor(nowNs: () => bigint) {
    this.#nowNs = nowNs;
  }

  /** The buckets of `<namespace>/<name>`, before the limit itself comes into force; null: it is gone. */
  setCells(name: string, buffer: SharedArrayBuffer | null): void {
    if (buffer === null) this.#byName.delete(name);
    else this.#byName.set(name, { cells: new LimitCells(buffer), hashes: new Map() });
  }

  /** By the limits that `limitsOf` names for a destination, in the order in which they are judged. */
  judgeBy(limitsOf: (destination: Workload) => readonly CompiledLimit[]): JudgeLimits {
    return (connection, request) => {
      const limits = limitsOf(connection.destination);
      if (limits.length === 0) return admitted;
      const { sourceAddress, sourcePort, sourceIdentity, security } = connection;
      const { destinationAddress, destinationPort, destination } = connection;
      // Written out, since a request each comes by here and a spread costs several times as much.
      return this.#judge(limits, {
        sourceAddress,
        sourcePort,
        sourceIdentity,
        destinationAddress,
        destinationPort,
        destination,
        security,
        request,
      });
    };
  }

  #judge(limits: readonly CompiledLimit[], facts: ConnectionFacts): LimitVerdict {
    const who = facts.security === "none" ? null : facts.sourceIdentity;
    const nowNs = this.#nowNs();
    let charged: Charged[] | null = null;
    let shadowed: RuleRef[] | null = null;
    for (const limit of limits) {
      if (!counts(limit, facts, who)) continue;
      const buckets = this.#bucketsOf(limit.name);
      const { cells } = buckets;
      const key = hashOf(facts.destination.uid, keyText(limit, facts), buckets);
      const { waitNs } = cells.take(key, limit.rate, nowNs);
      if (limit.isShadow) {
        if (waitNs > 0n) shadowed = [...(shadowed ?? nobody), limit.ref];
        continue;
      }
      if (waitNs === 0n) {
        charged ??= [];
        charged.push({ cells, key, limit });
        continue;
      }
      // It is not served: no other limit pays for it.
      for (const each of charged ?? []) each.cells.giveBack(each.key, each.limit.rate, nowNs);
      return { over: { ref: limit.ref, waitNs }, shadowed: shadowed ?? nobody };
    }
    return shadowed === null ? admitted : { over: null, shadowed };
  }

  /** The main thread gives each limit its buckets before its data. Should it not: buckets of this thread alone, never none. */
  #bucketsOf(name: string): LimitBuckets {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    const own = { cells: new LimitCells(LimitCells.buffer()), hashes: new Map<string, Map<string, bigint>>() };
    this.#byName.set(name, own);
    return own;
  }
}

function hashOf(uid: string, text: string, { cells, hashes }: LimitBuckets): bigint {
  let ofPod = hashes.get(uid);
  const known = ofPod?.get(text);
  if (known !== undefined) return known;
  if (ofPod === undefined || ofPod.size >= MOST_HASHES) {
    if (hashes.size >= MOST_PODS) hashes.clear();
    ofPod = new Map();
    hashes.set(uid, ofPod);
  }
  const hash = cells.keyOf(`${uid}\0${text}`);
  ofPod.set(text, hash);
  return hash;
}

const NS_PER_SECOND = 1_000_000_000n;

/** The verdict on a request that policy allows, with what the limits say of it. */
export function withLimits(verdict: RequestVerdict, { over, shadowed }: LimitVerdict): RequestVerdict {
  if (over === null && shadowed.length === 0) return verdict;
  const dryRunDenied = shadowed.length === 0 ? verdict.dryRunDenied : [...verdict.dryRunDenied, ...shadowed];
  if (over === null) return { ...verdict, dryRunDenied };
  // Whole seconds (RFC 9110 section 10.2.3), rounded up: a caller who comes back then is not early.
  const seconds = (over.waitNs + NS_PER_SECOND - 1n) / NS_PER_SECOND;
  return {
    verdict: "deny",
    reason: "limited",
    answer: { ...refusalAnswers.limited, headers: [{ op: "set", name: "retry-after", value: String(seconds) }] },
    nearestMiss: [],
    decidedBy: over.ref,
    layer: "L7",
    audited: verdict.audited,
    dryRunDenied,
  };
}
