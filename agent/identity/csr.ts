// main thread · key pairs, PKCS#10 requests, and the embedded authority's certificates. The only X.509 library import; loaded late (90 ms).
import "reflect-metadata";
import { createPrivateKey, createPublicKey, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { Secret } from "./secret.ts";

x509.cryptoProvider.set(webcrypto);

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export type KeyAndRequest = {
  /** PKCS#8 DER. */
  readonly key: Secret;
  readonly csrPem: string;
  /** SubjectPublicKeyInfo DER: what the certificate must be of. */
  readonly publicKey: Uint8Array;
};

/**
 * A new key, and a request for a certificate of it: empty subject, one URI name, as Istio's authority wants it
 * (docs/reference/hbone.md#certificate-requests).
 */
export async function newRequest(spiffeText: string): Promise<KeyAndRequest> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "url", value: spiffeText }], true)],
  });
  const key = new Secret(new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)));
  const publicKey = new Uint8Array(await webcrypto.subtle.exportKey("spki", keys.publicKey));
  return { key, csrPem: request.toString("pem"), publicKey };
}

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

export type Issuer = {
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
export async function signLeaf(authority: Issuer, options: LeafOptions): Promise<string> {
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

/**
 * A new root: PEM of its key, then of its certificate. Bytes and not text, because text cannot be overwritten; the caller
 * overwrites them.
 */
export async function newRootPem(trustDomain: string, notBefore: Date, notAfter: Date): Promise<Buffer> {
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
  const keyPem = await pemOf(keys.privateKey);
  const pem = Buffer.concat([keyPem, Buffer.from(`${root.toString("pem")}\n`)]);
  keyPem.fill(0);
  return pem;
}

export type ServerCertificate = {
  readonly certificatePem: string;
  /** Bytes, so that the caller can overwrite them. */
  readonly keyPem: Buffer;
};

/** A key and certificate by which an authority's own server proves itself. It names hosts and no workload. */
export async function newServerCertificate(
  authority: Issuer,
  names: readonly string[],
  { notBefore, notAfter }: Pick<LeafOptions, "notBefore" | "notAfter">,
): Promise<ServerCertificate> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const hosts = names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value }));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    issuer: authority.certificate.subjectName,
    notBefore,
    notAfter,
    signingKey: authority.key,
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    extensions: [
      new x509.SubjectAlternativeNameExtension(hosts, true),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificatePem: certificate.toString("pem"), keyPem: await pemOf(keys.privateKey) };
}

async function pemOf(key: webcrypto.CryptoKey): Promise<Buffer> {
  const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", key));
  const encoded = base64Bytes(pkcs8);
  const lines = ["-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY-----\n"] as const;
  const pem = Buffer.concat([Buffer.from(lines[0]), encoded, Buffer.from(lines[1])]);
  pkcs8.fill(0);
  encoded.fill(0);
  return pem;
}

/** Base64 in lines of 64, without a string ever holding it. */
function base64Bytes(bytes: Uint8Array): Buffer {
  const digits = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
  const length = Math.ceil(bytes.length / 3) * 4;
  const out = Buffer.alloc(length + Math.floor((length - 1) / 64), "\n");
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b, c] = bytes.subarray(i, i + 3);
    const group = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    if (at % 65 === 64) at++;
    out[at++] = digits[group >> 18] ?? 0;
    out[at++] = digits[(group >> 12) & 63] ?? 0;
    out[at++] = b === undefined ? 0x3d : (digits[(group >> 6) & 63] ?? 0);
    out[at++] = c === undefined ? 0x3d : (digits[group & 63] ?? 0);
  }
  return out;
}

/**
 * The authority that a PKCS#8 PEM and a certificate describe.
 * @throws Error when the key is not of P-256 or does not belong to the certificate.
 */
export async function readAuthority(keyPem: Buffer, certificatePem: string): Promise<Issuer> {
  // Parsed from bytes: as a string the key would stay in the heap for as long as it liked.
  const parsed = createPrivateKey({ key: keyPem, format: "pem" });
  if (parsed.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new Error("its key is not ECDSA P-256");
  if (!new X509Certificate(certificatePem).checkPrivateKey(parsed)) {
    throw new Error("the private key does not belong to the first certificate");
  }
  const certificate = new x509.X509Certificate(certificatePem);
  return {
    key: parsed.toCryptoKey(algorithm, false, ["sign"]),
    certificate,
    selfSigned: await certificate.isSelfSigned(),
  };
}

function namesOf(request: x509.Pkcs10CertificateRequest): readonly x509.GeneralName[] {
  // A plain array: the library's own kind would make others of its kind.
  const found = [...request.extensions].filter(
    (extension) => extension instanceof x509.SubjectAlternativeNameExtension,
  );
  return found.flatMap((extension) => extension.names.items);
}

/** 16 random bytes, positive and never zero (RFC 5280 §4.1.2.2). */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}
