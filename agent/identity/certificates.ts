// main thread · per identity one certificate: got, held, rotated at half-life with jitter. A failed renewal drops nothing; keys leave at once.
import { Backoff } from "../attempts/backoff.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Clock } from "./clock.ts";
import { abortable, checkedSerial } from "./issued.ts";
import type { IssuedCertificate, Provider } from "./provider.ts";

export type CertificatesOptions = {
  /** Requests to the authority at once. ztunnel's number. */
  readonly concurrency?: number;
  /** An authority that has not answered by then has failed, ms. */
  readonly issueTimeoutMs?: number;
};

export type Installed = {
  readonly identity: number;
  readonly spiffeId: SpiffeId;
  readonly chainPem: string;
  /** PKCS#8 DER; overwritten as soon as `install` returns. */
  readonly pkcs8: Uint8Array;
  /** False for the first certificate of this integer. */
  readonly rotated: boolean;
};

export type CertificatesDependencies = {
  readonly provider: Provider;
  readonly clock: Clock;
  readonly install: (certificate: Installed) => void;
  /** The last holder has gone, or the certificate expired: the engine forgets the key. */
  readonly drop: (identity: number, spiffeId: SpiffeId) => void;
  /** A request failed; `usableMs` is how long the certificate in force still holds, 0 when there is none. */
  readonly failed?: (spiffeId: SpiffeId, error: Error, usableMs: number) => void;
  /** In [0, 1). */
  readonly random?: () => number;
};

/** "needed": a connection waits, or nothing valid is left. They go first. */
type Priority = "needed" | "background";

type State =
  | { readonly name: "waiting"; priority: Priority }
  | { readonly name: "asking"; readonly abort: AbortController }
  /** Until the renewal is due, or after a failure until the next try. */
  | { readonly name: "resting"; readonly cancel: () => void };

type Certificate = {
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** On the monotonic clock: a wall clock that jumps neither prolongs nor ends it here. */
  readonly endsAtMs: number;
  readonly renewAtMs: number;
};

type Held = {
  readonly spiffeId: SpiffeId;
  readonly identity: number;
  readonly backoff: Backoff;
  readonly waiters: Set<() => void>;
  holders: number;
  state: State;
  certificate: Certificate | null;
  lastError: string;
};

export type CertificateView = {
  readonly spiffeId: string;
  readonly identity: number;
  readonly holders: number;
  readonly state: "available" | "unavailable";
  readonly serial: string;
  /** RFC 3339; empty without a certificate. */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly renewInMs: number;
  readonly lastError: string;
};

const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 150_000;
/** The renewal comes between 40 % and 50 % of what is left at issue: nodes started together do not renew together. */
const RENEW_AT = 0.5;
const JITTER = 0.1;

/** Owns every certificate of this node's workloads. `close` ends its timers and requests. */
export class Certificates {
  readonly #dependencies: CertificatesDependencies;
  readonly #random: () => number;
  readonly #concurrency: number;
  readonly #issueTimeoutMs: number;
  readonly #held = new Map<string, Held>();
  #lastIdentity = 0;
  #asking = 0;
  #closed = false;

  constructor(options: CertificatesOptions, dependencies: CertificatesDependencies) {
    this.#dependencies = dependencies;
    this.#random = dependencies.random ?? Math.random;
    this.#concurrency = options.concurrency ?? 8;
    this.#issueTimeoutMs = options.issueTimeoutMs ?? 10_000;
  }

  /** One more local workload has this identity. Returns the integer it is (or will be) installed under. */
  hold(spiffeId: SpiffeId): number {
    const known = this.#held.get(spiffeId.text);
    if (known) {
      known.holders++;
      return known.identity;
    }
    const held: Held = {
      spiffeId,
      identity: ++this.#lastIdentity,
      backoff: new Backoff({ baseMs: FIRST_RETRY_MS, capMs: LAST_RETRY_MS }, this.#random),
      waiters: new Set(),
      holders: 1,
      state: { name: "waiting", priority: "background" },
      certificate: null,
      lastError: "",
    };
    this.#held.set(spiffeId.text, held);
    this.#askNext();
    return held.identity;
  }

  /** One workload less. With the last one the certificate is forgotten. */
  release(spiffeId: SpiffeId): void {
    const held = this.#held.get(spiffeId.text);
    if (!held || --held.holders > 0) return;
    this.#held.delete(spiffeId.text);
    this.#rest(held);
    if (held.certificate) this.#dependencies.drop(held.identity, spiffeId);
    this.#wake(held);
  }

  /** A valid certificate is installed. */
  isReady(spiffeId: SpiffeId): boolean {
    const held = this.#held.get(spiffeId.text);
    return held !== undefined && this.#usableMs(held) > 0;
  }

  /**
   * Resolves once a valid certificate is installed: true; or, when the identity is not held (any more) or the signal
   * aborts: false. Asking moves the request to the front.
   */
  async ready(spiffeId: SpiffeId, signal?: AbortSignal): Promise<boolean> {
    for (;;) {
      const held = this.#held.get(spiffeId.text);
      if (!held || this.#closed || signal?.aborted) return false;
      if (this.#usableMs(held) > 0) return true;
      if (held.state.name === "waiting") held.state.priority = "needed";
      await new Promise<void>((resolve) => {
        held.waiters.add(resolve);
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  view(): CertificateView[] {
    const now = this.#dependencies.clock.monotonicMs();
    return [...this.#held.values()].map((held) => {
      const { certificate } = held;
      return {
        spiffeId: held.spiffeId.text,
        identity: held.identity,
        holders: held.holders,
        state: this.#usableMs(held) > 0 ? "available" : "unavailable",
        serial: certificate?.serial ?? "",
        notBefore: certificate ? new Date(certificate.notBeforeMs).toISOString() : "",
        notAfter: certificate ? new Date(certificate.notAfterMs).toISOString() : "",
        renewInMs: certificate ? Math.max(0, Math.round(certificate.renewAtMs - now)) : 0,
        lastError: held.lastError,
      };
    });
  }

  /** Renews now, whatever the age: for tests of rotation, and for an operator. */
  renew(spiffeId: SpiffeId): void {
    const held = this.#held.get(spiffeId.text);
    if (held?.state.name !== "resting") return;
    this.#queue(held, "needed");
  }

  close(): void {
    this.#closed = true;
    for (const held of this.#held.values()) {
      this.#rest(held);
      this.#wake(held);
    }
    this.#held.clear();
  }

  #usableMs(held: Held): number {
    return held.certificate ? Math.max(0, held.certificate.endsAtMs - this.#dependencies.clock.monotonicMs()) : 0;
  }

  /** Cancels the timer, or aborts the request, that the state has under way. */
  #rest(held: Held): void {
    if (held.state.name === "resting") held.state.cancel();
    else if (held.state.name === "asking") held.state.abort.abort(new Error("no longer needed"));
  }

  #wake(held: Held): void {
    for (const resolve of held.waiters) resolve();
    held.waiters.clear();
  }

  #queue(held: Held, priority: Priority): void {
    if (held.state.name === "resting") held.state.cancel();
    held.state = { name: "waiting", priority: held.waiters.size > 0 ? "needed" : priority };
    this.#askNext();
  }

  #askNext(): void {
    while (!this.#closed && this.#asking < this.#concurrency) {
      const next = this.#first("needed") ?? this.#first("background");
      if (!next) return;
      this.#asking++;
      void this.#ask(next).finally(() => {
        this.#asking--;
        this.#askNext();
      });
    }
  }

  #first(priority: Priority): Held | undefined {
    for (const held of this.#held.values()) {
      if (held.state.name === "waiting" && held.state.priority === priority) return held;
    }
    return undefined;
  }

  async #ask(held: Held): Promise<void> {
    const { provider, clock } = this.#dependencies;
    const abort = new AbortController();
    held.state = { name: "asking", abort };
    const cancel = clock.after(this.#issueTimeoutMs, () =>
      abort.abort(new Error(`no answer in ${this.#issueTimeoutMs} ms`)),
    );
    let issued: IssuedCertificate | undefined;
    try {
      // The race: a provider that ignores its signal must not hold up the queue.
      issued = await abortable(provider.issue(held.spiffeId, abort.signal), abort.signal);
      if (this.#isHeld(held)) this.#accept(held, issued);
    } catch (error) {
      if (this.#isHeld(held)) this.#reject(held, error instanceof Error ? error : new Error(String(error)));
    } finally {
      cancel();
      issued?.key.wipe();
    }
  }

  #isHeld(held: Held): boolean {
    return !this.#closed && this.#held.get(held.spiffeId.text) === held;
  }

  /** @throws Error when the certificate is not what was asked for; the one in force stays. */
  #accept(held: Held, issued: IssuedCertificate): void {
    const { clock, install } = this.#dependencies;
    const serial = checkedSerial(held.spiffeId, issued);
    const now = clock.monotonicMs();
    // By both clocks: an authority whose clock is behind or ahead of ours must not stretch the life of its certificates.
    const leftMs = Math.min(issued.notAfterMs - clock.wallMs(), issued.notAfterMs - issued.notBeforeMs);
    if (leftMs <= 0) throw new Error("the authority's certificate has expired already: is one of the clocks wrong?");
    const renewInMs = leftMs * (RENEW_AT - JITTER * this.#random());
    const rotated = held.certificate !== null;
    issued.key.take((pkcs8) =>
      install({ identity: held.identity, spiffeId: held.spiffeId, chainPem: issued.chainPem, pkcs8, rotated }),
    );
    held.certificate = {
      serial,
      notBeforeMs: issued.notBeforeMs,
      notAfterMs: issued.notAfterMs,
      endsAtMs: now + leftMs,
      renewAtMs: now + renewInMs,
    };
    held.backoff.reset();
    held.lastError = "";
    held.state = { name: "resting", cancel: clock.after(renewInMs, () => this.#queue(held, "background")) };
    this.#wake(held);
  }

  #reject(held: Held, error: Error): void {
    const { clock, drop, failed } = this.#dependencies;
    held.lastError = error.message;
    const usableMs = this.#usableMs(held);
    if (usableMs === 0 && held.certificate) {
      // Kept to its last moment and not beyond it: from here on there is no identity, and handshakes fail here already.
      held.certificate = null;
      drop(held.identity, held.spiffeId);
    }
    // The moment of expiry is always met by a try.
    const waitMs = Math.min(held.backoff.nextMs(), usableMs > 0 ? usableMs : LAST_RETRY_MS);
    // Its certificate has ended or ends soon: the next try goes before renewals of others.
    const priority: Priority = usableMs < LAST_RETRY_MS ? "needed" : "background";
    held.state = { name: "resting", cancel: clock.after(waitMs, () => this.#queue(held, priority)) };
    failed?.(held.spiffeId, error, usableMs);
  }
}
