// 18 · data thread · which endpoints of a Service are left out for a caller's requests by a rule, and what each request shows of its endpoint.
// What is known lies in cells that all data threads share. What a caller provokes at an endpoint changes nothing for others; that nobody can be
// connected there, no caller provokes, and it counts for all.
import { fullName } from "../mesh/full-name.ts";
import type { OutlierDetection, SuccessRate } from "../mesh/traffic-policy.ts";
import {
  afterInterval,
  afterProbe,
  afterRequest,
  blank,
  type EjectedEndpoint,
  type EjectionState,
  inUse,
  isOut,
  probing,
  type TryShows,
} from "../plan/ejection.ts";
import type { Candidate } from "../plan/endpoints.ts";
import type { RequestHealth, RequestsTo } from "../plan/forwarded-request.ts";
import { servedWorse } from "../plan/success-rate.ts";
import type { EjectionCells } from "./ejection-cells.ts";
import type { Cell } from "./keyed-cells.ts";
import type { RateCells } from "./rate-cells.ts";

export type { EjectedEndpoint } from "../plan/ejection.ts";

/** Callers, ports and rules that a thread knows at once; then it begins anew, which costs it look-ups alone. */
const MOST_VIEWS = 4_096;
const MOST_ENDPOINTS = 20_000;

type Endpoints = Map<string, KnownEndpoint>;
type View = {
  readonly of: Omit<EjectedEndpoint, "address" | "port" | "reason" | "times" | "leftMs">;
  readonly text: string;
  readonly endpoints: Endpoints;
  /** As of so many changes, none of this many endpoints, of which this is the first, was out. */
  quietSince: bigint;
  quietCount: number;
  quietFirst: string;
  /** By the last look: to be probed. */
  due: KnownEndpoint | null;
  /** Of success rates; null: not asked for. */
  sweepKey: bigint | null;
  /** The interval in which it was swept, by this thread or another. */
  sweptNth: number;
};

type KnownEndpoint = {
  readonly address: string;
  readonly port: number;
  readonly key: bigint;
  cell: Cell | undefined;
  /** As of so many claims it has no cell. */
  claims: bigint;
  /** Of its success rate; null: nobody has asked for it. */
  rateKey: bigint | null;
};

export type HealthCells = { readonly ejections: EjectionCells; readonly rates: RateCells };

/** What a request does at its endpoint; `end` follows once. */
export type EndpointHold = {
  /** The connection there was refused, or its host is not reached. */
  unreached: () => void;
  /** null: it has shown nothing. */
  end: (shown: TryShows | null) => void;
};

export class EndpointHealth implements RequestHealth {
  readonly #cells: EjectionCells;
  readonly #rates: RateCells;
  readonly #now: () => number;
  readonly #views = new Map<string, View>();
  #endpoints = 0;

  /** @param now of a clock that all data threads share, milliseconds */
  constructor({ ejections, rates }: HealthCells, now: () => number) {
    this.#cells = ejections;
    this.#rates = rates;
    this.#now = now;
  }

  /**
   * The candidates to which a request may go. Where it is to be probed, a single candidate: `hold` then says whether another thread has taken that.
   * @param mayProbe false: the request has been there already
   */
  narrow(
    to: RequestsTo,
    candidates: readonly Candidate[],
    mayProbe: (candidate: Candidate) => boolean,
  ): readonly Candidate[] {
    const policy = to.service.traffic?.outliers;
    const [first] = candidates;
    if (policy == null || first === undefined) return candidates;
    const view = this.#view(to.caller, to);
    if (policy.successRate !== undefined) this.#sweep(view, candidates, policy, policy.successRate);
    const { changes } = this.#cells;
    const { quietSince, quietCount, quietFirst } = view;
    if (quietSince === changes && quietCount === candidates.length && quietFirst === first.address) return candidates;
    const shared = this.#view("", to);
    const nowMs = this.#nowMs();
    let isQuiet = true;
    const stateOf = (candidate: Candidate): EjectionState => {
      const state = this.#state(this.#endpoint(view, candidate), nowMs);
      const known = isOut(state) ? state : this.#state(this.#endpoint(shared, candidate), nowMs);
      if (isOut(known)) isQuiet = false;
      return isOut(known) ? known : state;
    };
    const { used, probe } = inUse(candidates, stateOf, policy, nowMs, mayProbe);
    view.due = probe === null ? null : this.#endpoint(view, probe);
    if (isQuiet) {
      view.quietSince = changes;
      view.quietCount = candidates.length;
      view.quietFirst = first.address;
    }
    return used;
  }

  /** A request goes there. null: nobody asks what it shows. "taken": it was to be probed, and another thread does that. */
  hold(to: RequestsTo, at: { readonly address: string; readonly port: number }): EndpointHold | "taken" | null {
    const policy = to.service.traffic?.outliers;
    if (policy == null) return null;
    const view = this.#view(to.caller, to);
    const own = this.#endpoint(view, at);
    const shared = this.#endpoint(this.#view("", to), at);
    const probed = view.due === own ? this.#probe(own, shared) : null;
    view.due = null;
    if (probed === "taken") return "taken";
    let isUnreached = false;
    return {
      unreached: () => {
        isUnreached = true;
      },
      end: (shown) => {
        if (probed !== null) this.#probeEnded(probed, shown, policy);
        if (shown === null) return;
        if (probed?.of !== own) this.#ended(own, shown, policy);
        if (policy.successRate !== undefined) this.#counted(view, own, shown, policy.successRate);
        if (probed?.of !== shared && (shown === "served" || isUnreached)) this.#ended(shared, shown, policy);
      },
    };
  }

  /** What this thread has seen of endpoints that are left out. */
  *ejected(): Generator<EjectedEndpoint> {
    const nowMs = this.#nowMs();
    for (const { of, endpoints } of this.#views.values())
      for (const endpoint of endpoints.values()) {
        const { phase, times, atMs } = this.#state(endpoint, nowMs);
        if (phase === "in") continue;
        const { address, port } = endpoint;
        yield { ...of, address, port, reason: phase, times, leftMs: atMs - nowMs };
      }
  }

  #probe(own: KnownEndpoint, shared: KnownEndpoint): { of: KnownEndpoint; state: EjectionState } | "taken" | null {
    const nowMs = this.#nowMs();
    const state = this.#state(own, nowMs);
    const of = isOut(state) ? own : shared;
    const from = isOut(state) ? state : this.#state(shared, nowMs);
    if (!isOut(from)) return null;
    const to = probing(from, nowMs);
    return nowMs >= from.atMs && this.#cells.changeFrom(of.key, from, to) ? { of, state: to } : "taken";
  }

  #probeEnded(
    { of, state }: { readonly of: KnownEndpoint; readonly state: EjectionState },
    shown: TryShows | null,
    policy: OutlierDetection,
  ): void {
    this.#cells.changeFrom(of.key, state, afterProbe(state, shown, policy, this.#nowMs()));
  }

  #ended(endpoint: KnownEndpoint, shown: TryShows, policy: OutlierDetection): void {
    const nowMs = this.#nowMs();
    // Most requests are served by endpoints of which nothing is known.
    if (shown === "served" && this.#state(endpoint, nowMs) === blank) return;
    this.#cells.change(endpoint.key, nowMs, (state) => afterRequest(state, shown, policy, nowMs));
  }

  #counted(view: View, endpoint: KnownEndpoint, shown: TryShows, { intervalMs }: SuccessRate): void {
    const key = this.#rateKey(view, endpoint);
    if (!this.#rates.add(key, shown === "served", this.#nowMs(), intervalMs)) this.#cells.untracked();
  }

  /** Once in an interval a request of any thread looks at the interval before, and leaves out who was served worse than the others. */
  #sweep(view: View, candidates: readonly Candidate[], policy: OutlierDetection, rate: SuccessRate): void {
    const nowMs = this.#nowMs();
    const nth = Math.floor(nowMs / rate.intervalMs);
    if (view.sweptNth === nth) return;
    view.sweptNth = nth;
    view.sweepKey ??= this.#rates.keyOf(`${view.text}\0`);
    const sweep = this.#rates.takeSweep(view.sweepKey, nowMs, rate.intervalMs);
    if (sweep === "full") this.#cells.untracked();
    if (sweep !== "mine") return;
    const seen = candidates.flatMap((candidate) => {
      const endpoint = this.#endpoint(view, candidate);
      const before = this.#rates.before(this.#rateKey(view, endpoint), nowMs, rate.intervalMs);
      return before === null ? [] : [{ ...before, key: endpoint.key }];
    });
    for (const { key } of servedWorse(seen, rate))
      this.#cells.change(key, nowMs, (state) => afterInterval(state, policy, nowMs));
  }

  #rateKey({ text }: View, endpoint: KnownEndpoint): bigint {
    endpoint.rateKey ??= this.#rates.keyOf(`${text}\0${endpoint.address} ${endpoint.port}`);
    return endpoint.rateKey;
  }

  #state(endpoint: KnownEndpoint, nowMs: number): EjectionState {
    const { key } = endpoint;
    if (endpoint.cell === undefined) {
      const { claims } = this.#cells;
      if (endpoint.claims === claims) return blank;
      endpoint.claims = claims;
      endpoint.cell = this.#cells.find(key);
      if (endpoint.cell === undefined) return blank;
    }
    const state = this.#cells.read(endpoint.cell, key, nowMs);
    // Its cell may be another's by now.
    if (state === blank) {
      endpoint.claims = -1n;
      endpoint.cell = undefined;
    }
    return state;
  }

  #view(caller: string, { service, port, rule: asked }: RequestsTo): View {
    const rule = caller === "" ? "" : asked;
    const name = `${fullName(service)}:${port.port}`;
    const text = `${caller}\0${name}\0${rule}`;
    const known = this.#views.get(text);
    if (known !== undefined) return known;
    if (this.#views.size >= MOST_VIEWS) this.#forget();
    const view: View = {
      ...{ of: { caller, service: name, rule }, text, endpoints: new Map() },
      ...{ quietSince: -1n, quietCount: 0, quietFirst: "", due: null, sweepKey: null, sweptNth: -1 },
    };
    this.#views.set(text, view);
    return view;
  }

  #endpoint(
    { text, endpoints }: View,
    { address, port }: { readonly address: string; readonly port: number },
  ): KnownEndpoint {
    const at = `${address} ${port}`;
    const known = endpoints.get(at);
    if (known !== undefined) return known;
    if (this.#endpoints >= MOST_ENDPOINTS) this.#forget();
    this.#endpoints += 1;
    const key = this.#cells.keyOf(`${text}\0${at}`);
    const endpoint: KnownEndpoint = {
      address,
      port,
      key,
      cell: undefined,
      claims: -1n,
      rateKey: null,
    };
    endpoints.set(at, endpoint);
    return endpoint;
  }

  #forget(): void {
    this.#views.clear();
    this.#endpoints = 0;
  }

  #nowMs(): number {
    return Math.floor(this.#now());
  }
}
