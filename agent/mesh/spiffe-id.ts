// any thread · identities in Istio's form, spiffe://<trust domain>/ns/<namespace>/sa/<service account>. Pure.

/** A workload identity. `text` is the one canonical form; two identities are equal when their texts are. */
export type SpiffeId = {
  readonly text: string;
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
};

// SPIFFE-ID §2: trust domain [a-z0-9._-], at most 255 bytes; path segments [A-Za-z0-9._-], never "." or "..".
// Istio: namespace and service account are DNS labels/subdomains, so upper case cannot occur in a genuine identity.
const form =
  /^spiffe:\/\/([a-z0-9._-]{1,255})\/ns\/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\/sa\/([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)$/;

/** The identity that `text` names, or undefined when it is not exactly of the canonical form. Never throws. */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  const parts = text.length <= 2048 ? form.exec(text) : null;
  const [, trustDomain, namespace, serviceAccount] = parts ?? [];
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) return undefined;
  return { text, trustDomain, namespace, serviceAccount };
}

/** Builds the canonical identity. The parts come from configuration that has already been validated. */
export function spiffeId(trustDomain: string, namespace: string, serviceAccount: string): SpiffeId {
  return {
    text: `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`,
    trustDomain,
    namespace,
    serviceAccount,
  };
}
