// main thread · requests that others made: what they are of, and a leaf for those that are right. The only X.509 library import; an
// agent, which signs for itself alone, never loads it.
import "reflect-metadata";
import { createPublicKey, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { certifyLeaf, type Issuer } from "./csr.ts";
import type { Life } from "./written-certificate.ts";

x509.cryptoProvider.set(webcrypto);

/**
 * What key a request is of, such as "ECDSA P-256", and the names that it asks for.
 * @throws Error when it is no request
 */
export function readRequest(csrPem: string): { readonly key: string; readonly names: readonly string[] } {
  const request = new x509.Pkcs10CertificateRequest(csrPem);
  const { asymmetricKeyType = "", asymmetricKeyDetails } = createPublicKey({
    ...{ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" },
  });
  const curve = asymmetricKeyDetails?.namedCurve ?? "";
  const known: Readonly<Record<string, string>> = { prime256v1: "ECDSA P-256", secp384r1: "ECDSA P-384" };
  const key = asymmetricKeyType === "ec" ? (known[curve] ?? `ECDSA ${curve}`) : asymmetricKeyType;
  return { key, names: namesOf(request).map(({ type, value }) => (type === "url" ? value : `${type} ${value}`)) };
}

export type LeafOptions = Life & {
  readonly csrPem: string;
  /** The one identity the request must name, and the certificate will. */
  readonly spiffeText: string;
};

/** @throws Error when the request is not signed by its own key or names anything but `spiffeText`. */
export async function signLeaf(authority: Issuer, { csrPem, ...options }: LeafOptions): Promise<string> {
  const request = new x509.Pkcs10CertificateRequest(csrPem);
  if (!(await request.verify())) throw new Error("the request is not signed by its own key");
  const names = namesOf(request);
  if (names.length !== 1 || names[0]?.type !== "url" || names[0].value !== options.spiffeText) {
    throw new Error(`the request does not name exactly ${options.spiffeText}`);
  }
  return certifyLeaf(authority, { ...options, publicKey: new Uint8Array(request.publicKey.rawData) });
}

function namesOf(request: x509.Pkcs10CertificateRequest): readonly x509.GeneralName[] {
  // A plain array: the library's own kind would make others of its kind.
  const found = [...request.extensions].filter(
    (extension) => extension instanceof x509.SubjectAlternativeNameExtension,
  );
  return found.flatMap((extension) => extension.names.items);
}
