// main thread · the root's key and certificates as the Secret has them: read into an issuer, or made anew. Keys are bytes that are
// overwritten; base64 of the API server's JSON is a string that the garbage collector takes.
import { X509Certificate } from "node:crypto";
import { type Issuer, newRequest, newRootPem, readAuthority, signLeaf } from "../identity/csr.ts";
import { checkChain } from "../identity/issued-chain.ts";
import { rootsIn } from "../identity/root-bundle.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import type { NamedRoot } from "./bundle.ts";

/** The keys of the Secret: those of type kubernetes.io/tls, which cert-manager and `kubectl create secret tls` write as well. */
export const KEY = "tls.key";
export const CERTIFICATE = "tls.crt";
export const ROOTS = "ca.crt";

export type SigningRoot = {
  readonly issuer: Issuer;
  /** Follows each leaf: the issuer and what is above it, without the root. Empty: the issuer is the root. */
  readonly intermediatesPem: string;
  /** The root that the issuer's certificates lead to. */
  readonly fingerprint: string;
  readonly endsMs: number;
  /** All that the Secret names: this root, and others for a change of roots. */
  readonly named: readonly NamedRoot[];
};

const DAY_MS = 86_400_000;
const ROOT_LIFE_MS = 10 * 365 * DAY_MS;
const BACKDATE_MS = 5 * 60_000;

/** `data` of a Secret with a new root: base64, as the API takes it. */
export async function newRootData(trustDomain: string, nowMs: number): Promise<Readonly<Record<string, string>>> {
  const pem = await newRootPem(trustDomain, new Date(nowMs - BACKDATE_MS), new Date(nowMs + ROOT_LIFE_MS));
  try {
    const end = pem.indexOf("-----BEGIN CERTIFICATE-----");
    const certificate = pem.subarray(end).toString("base64");
    return { [KEY]: pem.subarray(0, end).toString("base64"), [CERTIFICATE]: certificate, [ROOTS]: certificate };
  } finally {
    pem.fill(0);
  }
}

/**
 * @param data of the Secret, base64
 * @throws Error that says what is missing or does not fit, and shows nothing of the key
 */
export async function readRoot(
  data: Readonly<Record<string, string>>,
  from: string,
  trustDomain: string,
  nowMs: number,
): Promise<SigningRoot> {
  const key = Buffer.from(data[KEY] ?? "", "base64");
  try {
    const certificates = rootsIn(textOf(data, CERTIFICATE, from), `${CERTIFICATE} of ${from}`);
    const [issuerPem = ""] = certificates;
    if (key.length === 0) throw new Error(`${from} has no ${KEY}`);
    const issuer = await readAuthority(key, issuerPem).catch((error: unknown) => {
      throw new Error(`${KEY} of ${from}: ${error instanceof Error ? error.message : error}`);
    });
    const further = data[ROOTS] === undefined ? [] : rootsIn(textOf(data, ROOTS, from), `${ROOTS} of ${from}`);
    const roots = [...(issuer.selfSigned ? [issuerPem] : []), ...further].map((pem) => new X509Certificate(pem));
    const odd = roots.find(({ ca }) => !ca);
    // Agents refuse a whole bundle for one such certificate.
    if (odd !== undefined) throw new Error(`${from} names a root that may not sign certificates: ${odd.subject}`);
    const named = new Map(roots.map((root) => [root.fingerprint256, root.toString().trim()]));
    return await tried(
      issuer,
      certificates,
      [...named].map(([fingerprint, pem]) => ({ pem, fingerprint })),
      trustDomain,
      nowMs,
    );
  } finally {
    key.fill(0);
  }
}

function textOf(data: Readonly<Record<string, string>>, name: string, from: string): string {
  const text = data[name];
  if (text === undefined) throw new Error(`${from} has no ${name}`);
  return Buffer.from(text, "base64").toString("latin1");
}

/** Signs once and checks the result as an agent does: what does not lead to a root now will not when an agent asks. */
async function tried(
  issuer: Issuer,
  certificates: readonly string[],
  named: readonly NamedRoot[],
  trustDomain: string,
  nowMs: number,
): Promise<SigningRoot> {
  const identity = spiffeId(trustDomain, "orlop-system", "orlop-control");
  const { key, csrPem, publicKey } = await newRequest(identity.text);
  key.wipe();
  const life = { notBefore: new Date(nowMs - 1_000), notAfter: new Date(nowMs + 60_000) };
  const leaf = await signLeaf(issuer, { csrPem, spiffeText: identity.text, ...life });
  const intermediates = issuer.selfSigned ? [] : certificates;
  const answer = [leaf, ...intermediates];
  for (const { pem, fingerprint } of named) {
    try {
      checkChain(answer, { identity, publicKey, validitySeconds: 60 }, [pem], nowMs);
    } catch {
      continue;
    }
    const ends = [...intermediates, pem].map((each) => new X509Certificate(each).validToDate.getTime());
    const intermediatesPem = intermediates.map((each) => each.trim()).join("\n");
    return { issuer, intermediatesPem, fingerprint, endsMs: Math.min(...ends), named };
  }
  throw new Error(
    `a certificate of ${CERTIFICATE} leads to no root of ${ROOTS}, or a certificate on the way has ended`,
  );
}
