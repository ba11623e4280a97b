// test double · an authority's signature under a certificate that an honest authority would not make.
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { Issuer } from "./csr.ts";

/** A leaf of the request's key for another identity than it names. */
export async function signAnyone(issuer: Issuer, csrPem: string, spiffeText: string): Promise<string> {
  const { publicKey } = new x509.Pkcs10CertificateRequest(csrPem);
  const leaf = await x509.X509CertificateGenerator.create(
    {
      serialNumber: "01",
      issuer: issuer.certificate.subjectName,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + 600_000),
      signingKey: issuer.key,
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
      publicKey,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: "url", value: spiffeText }], true)],
    },
    webcrypto,
  );
  return leaf.toString("pem");
}

const kinds = {
  RSA: { name: "RSASSA-PKCS1-v1_5", modulusLength: 2_048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  Ed25519: { name: "Ed25519" },
  "P-384": { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  "P-521": { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
} as const;

/** A request, PEM, of another kind of key than an agent makes. */
export async function requestOfKind(kind: keyof typeof kinds, spiffeText: string): Promise<string> {
  const algorithm = kinds[kind];
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const extensions = [new x509.SubjectAlternativeNameExtension([{ type: "url", value: spiffeText }], true)];
  const made = { keys, signingAlgorithm: algorithm, extensions };
  return (await x509.Pkcs10CertificateRequestGenerator.create(made, webcrypto)).toString("pem");
}
