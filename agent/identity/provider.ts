// main thread · what a certificate authority must do for us, whichever it is. Types only.
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Secret } from "./secret.ts";

export type IssuedCertificate = {
  /** Leaf first, then intermediates; no root. */
  readonly chainPem: string;
  /** PKCS#8 DER. */
  readonly key: Secret;
  /** By the authority's clock, ms since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

/** A certificate authority: embedded, Istio's, or SPIRE. */
export interface Provider {
  readonly name: string;
  /** One new key and certificate. Rejects when the authority cannot or will not; the caller tries again later. */
  issue(identity: SpiffeId, signal: AbortSignal): Promise<IssuedCertificate>;
  /** The roots that peers of the own trust domain may chain to, PEM, one certificate each; now, not as of some start. */
  roots(signal: AbortSignal): Promise<readonly string[]>;
}
