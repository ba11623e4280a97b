// main thread · certificates and PKCS#10 requests as bytes (RFC 5280 §4.1, RFC 2986 §4), signed with ECDSA P-256 and SHA-256. Written by
// hand: an agent needs one kind of request and of leaf, and a library for all of X.509 took 10 MB of its memory.
import { createHash, webcrypto, type X509Certificate } from "node:crypto";
import { isIpv6, parseIp } from "../mesh/ip.ts";
import { contextTag, elements, hex, inside, TAG } from "./der.ts";
import {
  bitString,
  element,
  integer,
  octetString,
  oid,
  pemText,
  sequence,
  setOf,
  time,
  utf8String,
  yes,
} from "./der-writer.ts";

/** Content bytes of OBJECT IDENTIFIERs. */
const OID = {
  ecdsaWithSha256: "2a8648ce3d040302", // RFC 5758 §3.2
  extensionRequest: "2a864886f70d01090e", // RFC 2985 §5.4.2
  organization: "55040a",
  commonName: "550403",
  subjectKeyIdentifier: "551d0e",
  keyUsage: "551d0f",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  authorityKeyIdentifier: "551d23",
  extendedKeyUsage: "551d25",
  serverAuth: "2b06010505070301",
  clientAuth: "2b06010505070302",
} as const;

// GeneralName (RFC 5280 §4.2.1.6), and the keyIdentifier of §4.2.1.1.
const DNS_NAME = 0x82;
const URI_NAME = 0x86;
const IP_ADDRESS = 0x87;
const KEY_IDENTIFIER = 0x80;

/** A key that signs, and the certificate that others know it by. */
export type Signer = { readonly key: webcrypto.CryptoKey; readonly certificate: X509Certificate };

export type AltName = { readonly uri: string } | { readonly host: string };

export type Life = { readonly notBefore: Date; readonly notAfter: Date };

const extension = (name: string, value: Uint8Array, critical = false): Uint8Array =>
  critical ? sequence(oid(name), yes, octetString(value)) : sequence(oid(name), octetString(value));

/** @throws Error for what is no ASCII: an IA5String holds nothing else. */
export function altNames(names: readonly AltName[], critical: boolean): Uint8Array {
  const written = names.map((name) => {
    const text = "uri" in name ? name.uri : name.host;
    if (!/^[\x21-\x7e]+$/.test(text)) throw new Error(`a certificate cannot name ${JSON.stringify(text)}`);
    if ("uri" in name) return element(URI_NAME, Buffer.from(text, "latin1"));
    const address = parseIp(text);
    if (address === undefined) return element(DNS_NAME, Buffer.from(text, "latin1"));
    return element(IP_ADDRESS, isIpv6(text) ? address : address.subarray(12));
  });
  return extension(OID.subjectAltName, sequence(...written), critical);
}

/** What a leaf may be used for: both ends of a tunnel, or a server. */
export function leafUses(uses: "both" | "server"): readonly Uint8Array[] {
  const purposes = uses === "both" ? [oid(OID.clientAuth), oid(OID.serverAuth)] : [oid(OID.serverAuth)];
  return [
    extension(OID.basicConstraints, sequence(), true),
    // digitalSignature: the first bit.
    extension(OID.keyUsage, bitString(Uint8Array.of(0x80), 7), true),
    extension(OID.extendedKeyUsage, sequence(...purposes)),
  ];
}

/** An authority's, with at most one authority between it and a leaf. */
export const authorityUses: readonly Uint8Array[] = [
  extension(OID.basicConstraints, sequence(yes, integer(Uint8Array.of(1))), true),
  // keyCertSign and cRLSign: the sixth and the seventh bit.
  extension(OID.keyUsage, bitString(Uint8Array.of(0x06), 1), true),
];

/** SHA-1 of the key's bits (RFC 5280 §4.2.1.2, method 1): a name, no protection. */
function keyIdentifier(publicKey: Uint8Array): Uint8Array {
  const bits = inside(publicKey, TAG.sequence)?.[1]?.content;
  if (bits === undefined) throw new Error("a public key that is no SubjectPublicKeyInfo");
  return createHash("sha1").update(bits.subarray(1)).digest();
}

export const ownKey = (publicKey: Uint8Array): Uint8Array =>
  extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(publicKey)));

/** By the name that the issuer's certificate gives its key; where it gives none, by the key. */
export function issuersKey({ raw, publicKey }: X509Certificate): Uint8Array {
  const own = fieldsOf(raw).find(({ tag }) => tag === contextTag(3));
  const extensions = own === undefined ? [] : (inside(own.content, TAG.sequence) ?? []);
  const parts = extensions.map(({ content }) => elements(content) ?? []);
  const named = parts.find(([name]) => name !== undefined && hex(name.content) === OID.subjectKeyIdentifier)?.at(-1);
  const [name] = named === undefined ? [] : (elements(named.content) ?? []);
  const identifier = name?.content ?? keyIdentifier(publicKey.export({ type: "spki", format: "der" }));
  return extension(OID.authorityKeyIdentifier, sequence(element(KEY_IDENTIFIER, identifier)));
}

/** The issuer's subject, byte for byte: path building compares it (RFC 5280 §7.1). */
export function subjectOf({ raw }: X509Certificate): Uint8Array {
  const fields = fieldsOf(raw);
  // The version in front may be missing; then serial, algorithm, issuer, validity, subject.
  const subject = fields[fields[0]?.tag === contextTag(0) ? 5 : 4];
  if (subject?.tag !== TAG.sequence) throw new Error("a certificate without a subject");
  return sequence(subject.content);
}

function fieldsOf(certificate: Uint8Array): NonNullable<ReturnType<typeof elements>> {
  const [tbs] = inside(certificate, TAG.sequence) ?? [];
  const fields = tbs === undefined ? undefined : elements(tbs.content);
  if (fields === undefined) throw new Error("a certificate that is no DER");
  return fields;
}

export const emptyName = sequence();

export function nameOf(organization: string, commonName: string): Uint8Array {
  const part = (type: string, text: string): Uint8Array => setOf(sequence(oid(type), utf8String(text)));
  return sequence(part(OID.organization, organization), part(OID.commonName, commonName));
}

const algorithm = sequence(oid(OID.ecdsaWithSha256));

/** `signed` with its signature behind it, as certificates and requests are (RFC 5280 §4.1, RFC 2986 §4.2). */
async function sealed(signed: Uint8Array<ArrayBuffer>, key: webcrypto.CryptoKey): Promise<Uint8Array> {
  // Two numbers of 32 bytes; X.509 has them as INTEGERs (RFC 3279 §2.2.3).
  const numbers = new Uint8Array(await webcrypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, signed));
  const signature = sequence(integer(numbers.subarray(0, 32)), integer(numbers.subarray(32)));
  return sequence(signed, algorithm, bitString(signature));
}

export type CertificateFields = Life & {
  /** Big-endian, at most 20 bytes, positive. */
  readonly serial: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** SubjectPublicKeyInfo DER. */
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Uint8Array[];
};

/** PEM, without a last line feed. */
export async function certificatePem(fields: CertificateFields, key: webcrypto.CryptoKey): Promise<string> {
  const { serial, issuer, subject, publicKey, extensions, notBefore, notAfter } = fields;
  const version3 = element(contextTag(0), integer(Uint8Array.of(2)));
  const life = sequence(time(notBefore), time(notAfter));
  const last = element(contextTag(3), sequence(...extensions));
  const tbs = sequence(version3, integer(serial), algorithm, issuer, life, subject, publicKey, last);
  return pemText("CERTIFICATE", await sealed(tbs, key));
}

/** PEM of a request with an empty subject. */
export async function requestPem(
  publicKey: Uint8Array,
  extensions: readonly Uint8Array[],
  key: webcrypto.CryptoKey,
): Promise<string> {
  const wanted = sequence(oid(OID.extensionRequest), setOf(sequence(...extensions)));
  const info = sequence(integer(Uint8Array.of(0)), emptyName, publicKey, element(contextTag(0), wanted));
  return pemText("CERTIFICATE REQUEST", await sealed(info, key));
}
