// main thread · the chain that an authority answered with, held against what was asked for: key, identity, time, and a path to a root
// that is trusted already. Hostile input: the answer names no root and adds none.
import { X509Certificate } from "node:crypto";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { readPeerCertificate } from "./peer-certificate.ts";

export type AskedFor = {
  readonly identity: SpiffeId;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  readonly validitySeconds: number;
};

export type CheckedChain = {
  /** Leaf first, then intermediates; no root. */
  readonly chainPem: string;
  /** Of the whole path: the latest begin and the earliest end, ms since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
};

/** The leaf, five intermediates, and the roots that an authority of Istio's kind puts behind them. */
const MAX_CERTIFICATES = 16;
const MAX_INTERMEDIATES = 5;
/** Clocks may be five minutes apart, in either direction (docs/reference/failures.md, row D7). */
const CLOCKS_MS = 10 * 60_000;
const certificateForm = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * @param roots PEM, one certificate each: those that peers are verified by
 * @throws Error that says in what the answer differs from what was asked for
 */
export function checkChain(
  texts: readonly string[],
  asked: AskedFor,
  roots: readonly string[],
  nowMs: number,
): CheckedChain {
  const { identity, publicKey, validitySeconds } = asked;
  const [leaf, ...others] = parsed(texts);
  if (leaf === undefined) throw new Error("the authority's answer has no certificate");
  if (!Buffer.from(publicKey).equals(leaf.publicKey.export({ type: "spki", format: "der" }))) {
    throw new Error("the authority's certificate is of another key than the request");
  }
  const read = readPeerCertificate(leaf.raw);
  if (!("spiffeId" in read)) throw new Error(`the authority's certificate names nobody: ${read.reject}`);
  if (read.spiffeId.text !== identity.text) {
    throw new Error(`asked for ${identity.text}, the authority's certificate is of ${read.spiffeId.text}`);
  }
  if (leaf.validToDate.getTime() > nowMs + validitySeconds * 1_000 + CLOCKS_MS) {
    throw new Error(`asked for ${validitySeconds} s, the authority's certificate is valid to ${leaf.validTo}`);
  }
  const trusted = roots.map((pem) => new X509Certificate(pem));
  const path = pathToRoot(leaf, others, trusted, nowMs);
  if (path === undefined)
    throw new Error(`the authority's certificate (issuer ${leaf.issuer}) leads to no trusted root`);
  const notBeforeMs = Math.max(...path.map((certificate) => certificate.validFromDate.getTime()));
  const notAfterMs = Math.min(...path.map((certificate) => certificate.validToDate.getTime()));
  if (notAfterMs <= nowMs)
    throw new Error("the authority's certificate has expired already: is one of the clocks wrong?");
  if (notBeforeMs > nowMs + CLOCKS_MS)
    throw new Error("the authority's certificate is not valid yet: is one of the clocks wrong?");
  // The root is the last of the path: peers have it.
  const chainPem = path
    .slice(0, -1)
    .map((certificate) => certificate.toString().trim())
    .join("\n");
  return { chainPem: `${chainPem}\n`, notBeforeMs, notAfterMs };
}

function parsed(texts: readonly string[]): readonly X509Certificate[] {
  const text = texts.join("\n");
  const pems = [...text.matchAll(certificateForm)].map(([pem]) => pem);
  if (pems.length > MAX_CERTIFICATES)
    throw new Error(`the authority's answer has over ${MAX_CERTIFICATES} certificates`);
  if (text.replaceAll(certificateForm, "").trim() !== "") {
    throw new Error("the authority's answer holds something else than certificates");
  }
  try {
    return pems.map((pem) => new X509Certificate(pem));
  } catch (error) {
    throw new Error(`the authority's certificate cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

/** From the leaf over certificates of the answer to a trusted root, which comes last; every step is signed by the next. */
function pathToRoot(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): readonly X509Certificate[] | undefined {
  const isValid = (certificate: X509Certificate): boolean => certificate.validToDate.getTime() > nowMs;
  const signed = (by: X509Certificate, certificate: X509Certificate): boolean =>
    by.ca && isValid(by) && certificate.checkIssued(by) && certificate.verify(by.publicKey);
  // Each certificate is part of one path at most, so that sixteen of them cannot make a search of many.
  const seen = new Set<X509Certificate>([leaf]);
  const paths: (readonly X509Certificate[])[] = [[leaf]];
  for (const path of paths) {
    const last = path.at(-1) ?? leaf;
    const root = roots.find((candidate) => signed(candidate, last));
    if (root !== undefined) return [...path, root];
    if (path.length > MAX_INTERMEDIATES) continue;
    for (const other of others) {
      if (seen.has(other) || !signed(other, last)) continue;
      seen.add(other);
      paths.push([...path, other]);
    }
  }
  return undefined;
}
