// test double · an authority's signature under a certificate that an honest authority would not make.
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
