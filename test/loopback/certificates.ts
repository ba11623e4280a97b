// tests · a root and leaves with every property a test may want wrong; keys in memory only.
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

type KeyPair = webcrypto.CryptoKeyPair;
const { subtle } = webcrypto;
x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export type Leaf = { readonly chainPem: string; readonly pkcs8: Uint8Array; readonly keyPem: string };
export type LeafOptions = {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Extended key usages; default both. */
  readonly usages?: readonly ("client" | "server")[];
};

const hour = 3_600_000;

async function authority(
  subject: string,
  publicKey: webcrypto.CryptoKey,
  issuer: string,
  signingKey: webcrypto.CryptoKey,
): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.create({
    subject,
    issuer,
    publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + 24 * hour),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
}

export class TestCa {
  readonly pem: string;
  readonly #keys: KeyPair;
  readonly #certificate: x509.X509Certificate;

  private constructor(keys: KeyPair, certificate: x509.X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
    this.pem = certificate.toString("pem");
  }

  static async create(name = "test root"): Promise<TestCa> {
    const keys = (await subtle.generateKey(algorithm, true, ["sign", "verify"])) as KeyPair;
    const subject = `CN=${name}`;
    return new TestCa(keys, await authority(subject, keys.publicKey, subject, keys.privateKey));
  }

  /** PEM: the key and name of `other`, signed by this authority. An intermediate, or a cross-signed root. */
  async vouchFor(other: TestCa): Promise<string> {
    const { subject } = other.#certificate;
    const signed = await authority(subject, other.#keys.publicKey, this.#certificate.subject, this.#keys.privateKey);
    return signed.toString("pem");
  }

  /** PEM: the same key and name in another certificate of its own. */
  async renewed(): Promise<string> {
    return this.vouchFor(this);
  }

  async leaf(spiffe: string, options: LeafOptions = {}): Promise<Leaf> {
    const keys = (await subtle.generateKey(algorithm, true, ["sign", "verify"])) as KeyPair;
    const usages = (options.usages ?? ["client", "server"]).map((usage) =>
      usage === "client" ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
    );
    const certificate = await x509.X509CertificateGenerator.create({
      issuer: this.#certificate.subject,
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: algorithm,
      notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
      notAfter: options.notAfter ?? new Date(Date.now() + hour),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(usages),
        new x509.SubjectAlternativeNameExtension([{ type: "url", value: spiffe }], true),
        await x509.AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
      ],
    });
    const pkcs8 = new Uint8Array(await subtle.exportKey("pkcs8", keys.privateKey));
    return { chainPem: certificate.toString("pem"), pkcs8, keyPem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") };
  }
}
