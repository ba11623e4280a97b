// main · key pairs, PKCS#10 requests, and the embedded authority's certificates. The only X.509 library import; loaded late (90 ms).
import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { Secret } from "./secret.ts";

x509.cryptoProvider.set(webcrypto);

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export type KeyAndRequest = {
  /** PKCS#8 DER. */
  readonly key: Secret;
  readonly csrPem: string;
};

/** A new key, and a request for a certificate of it: empty subject, one URI name, as Istio's authority wants it (wire.md §4.2). */
export async function newRequest(spiffeText: string): Promise<KeyAndRequest> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "url", value: spiffeText }], true)],
  });
  const key = new Secret(new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)));
  return { key, csrPem: request.toString("pem") };
}

export type Authority = {
  readonly key: webcrypto.CryptoKey;
  readonly certificate: x509.X509Certificate;
  readonly selfSigned: boolean;
};

export type LeafOptions = {
  readonly csrPem: string;
  /** The one identity the request must name, and the certificate will. */
  readonly spiffeText: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
};

/** @throws Error when the request is not signed by its own key or names anything but `spiffeText`. */
export async function signLeaf(authority: Authority, options: LeafOptions): Promise<string> {
  const request = new x509.Pkcs10CertificateRequest(options.csrPem);
  if (!(await request.verify())) throw new Error("the request is not signed by its own key");
  const names = namesOf(request);
  if (names.length !== 1 || names[0]?.type !== "url" || names[0].value !== options.spiffeText) {
    throw new Error(`the request does not name exactly ${options.spiffeText}`);
  }
  const leaf = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    issuer: authority.certificate.subjectName,
    notBefore: options.notBefore,
    notAfter: options.notAfter,
    signingKey: authority.key,
    signingAlgorithm: algorithm,
    publicKey: request.publicKey,
    extensions: [
      // RFC 5280 §4.2.1.6: critical, because the subject is empty.
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: options.spiffeText }], true),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate),
      await x509.SubjectKeyIdentifierExtension.create(request.publicKey),
    ],
  });
  return leaf.toString("pem");
}

/** A new root: its key and certificate as one PEM text. It exists to be written to a file, hence a string. */
export async function newRootPem(trustDomain: string, notBefore: Date, notAfter: Date): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: `O=Orlop, CN=Orlop root ${randomBytes(4).toString("hex")}`,
    notBefore,
    notAfter,
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      // X509-SVID §2: the certificate of an authority may name its trust domain.
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: `spiffe://${trustDomain}` }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n${root.toString("pem")}\n`;
}

/** The authority a PEM text describes. @throws Error when the key is not PKCS#8 P-256 or does not belong to the first certificate. */
export async function readAuthority(pkcs8: Uint8Array, certificatePem: string): Promise<Authority> {
  const key = await webcrypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), algorithm, false, ["sign"]);
  const certificate = new x509.X509Certificate(certificatePem);
  const probe = randomBytes(32);
  const signature = await webcrypto.subtle.sign(algorithm, key, probe);
  const publicKey = await certificate.publicKey.export(algorithm, ["verify"]);
  if (!(await webcrypto.subtle.verify(algorithm, publicKey, signature, probe))) {
    throw new Error("the private key does not belong to the first certificate");
  }
  return { key, certificate, selfSigned: await certificate.isSelfSigned() };
}

function namesOf(request: x509.Pkcs10CertificateRequest): readonly x509.GeneralName[] {
  const found = request.extensions.filter((one) => one instanceof x509.SubjectAlternativeNameExtension);
  return found.flatMap((one) => one.names.items);
}

/** 16 random bytes, positive and never zero (RFC 5280 §4.1.2.2). */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}
