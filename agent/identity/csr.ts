// main thread · key pairs with their requests, roots, leaves and an authority's own server: what is in each; written-certificate.ts has the form.
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { Secret } from "./secret.ts";
import {
  altNames,
  authorityUses,
  certificatePem,
  emptyName,
  issuersKey,
  type Life,
  leafUses,
  nameOf,
  ownKey,
  requestPem,
  type Signer,
  subjectOf,
} from "./written-certificate.ts";

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
  const { keys, publicKey } = await newKeys();
  const csrPem = await requestPem(publicKey, [altNames([{ uri: spiffeText }], true)], keys.privateKey);
  const key = new Secret(new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)));
  return { key, csrPem, publicKey };
}

/** @returns the pair, and the public key as SubjectPublicKeyInfo DER */
async function newKeys() {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  return { keys, publicKey: new Uint8Array(await webcrypto.subtle.exportKey("spki", keys.publicKey)) };
}

export type Issuer = Signer & { readonly selfSigned: boolean };

export type LeafOfKey = Life & {
  /** SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  readonly spiffeText: string;
};

/** The leaf of a workload, PEM. That the key is the workload's the caller knows. */
export function certifyLeaf(authority: Issuer, { publicKey, spiffeText, ...life }: LeafOfKey): Promise<string> {
  const { certificate, key } = authority;
  // RFC 5280 §4.2.1.6: the name is critical, because the subject is empty.
  const name = altNames([{ uri: spiffeText }], true);
  const keysOf = [issuersKey(certificate), ownKey(publicKey)];
  const parties = { issuer: subjectOf(certificate), subject: emptyName, publicKey };
  return certificatePem(
    { ...life, ...parties, serial: newSerial(), extensions: [name, ...leafUses("both"), ...keysOf] },
    key,
  );
}

/**
 * A new root: PEM of its key, then of its certificate. Bytes and not text, because text cannot be overwritten; the caller
 * overwrites them.
 */
export async function newRootPem(trustDomain: string, notBefore: Date, notAfter: Date): Promise<Buffer> {
  const { keys, publicKey } = await newKeys();
  const name = nameOf("Orlop", `Orlop root ${randomBytes(4).toString("hex")}`);
  // X509-SVID §2: the certificate of an authority may name its trust domain.
  const trust = altNames([{ uri: `spiffe://${trustDomain}` }], false);
  const root = await certificatePem(
    {
      ...{ serial: newSerial(), issuer: name, subject: name, publicKey, notBefore, notAfter },
      extensions: [...authorityUses, trust, ownKey(publicKey)],
    },
    keys.privateKey,
  );
  const keyPem = await pemOf(keys.privateKey);
  const pem = Buffer.concat([keyPem, Buffer.from(`${root}\n`)]);
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
  { certificate, key }: Issuer,
  names: readonly string[],
  { notBefore, notAfter }: Life,
): Promise<ServerCertificate> {
  const { keys, publicKey } = await newKeys();
  const parties = { issuer: subjectOf(certificate), subject: emptyName, publicKey };
  const hosts = altNames(
    names.map((host) => ({ host })),
    true,
  );
  const keysOf = [issuersKey(certificate), ownKey(publicKey)];
  const extensions = [hosts, ...leafUses("server"), ...keysOf];
  const fields = { ...parties, serial: newSerial(), extensions, notBefore, notAfter };
  return { certificatePem: await certificatePem(fields, key), keyPem: await pemOf(keys.privateKey) };
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
export async function readAuthority(keyPem: Buffer, certificateText: string): Promise<Issuer> {
  // Parsed from bytes: as a string the key would stay in the heap for as long as it liked.
  const parsed = createPrivateKey({ key: keyPem, format: "pem" });
  if (parsed.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new Error("its key is not ECDSA P-256");
  const certificate = new X509Certificate(certificateText);
  if (!certificate.checkPrivateKey(parsed)) throw new Error("the private key does not belong to the first certificate");
  return {
    key: parsed.toCryptoKey(algorithm, false, ["sign"]),
    certificate,
    selfSigned: certificate.issuer === certificate.subject && certificate.verify(certificate.publicKey),
  };
}

/** 16 random bytes, positive and never zero (RFC 5280 §4.1.2.2). */
function newSerial(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}
