// data thread · leaf certificate of a verified chain → exactly one SPIFFE identity, or the reason why not. Hostile input; never throws.
import { hash } from "node:crypto";
import { parseSpiffeId, type SpiffeId } from "../mesh/spiffe-id.ts";
import { contextTag, type Element, elements, hex, inside, TAG } from "./der.ts";

/** A closed list; each is a metric label and a log value. */
export type PeerRejection =
  | "too-large" //          no genuine leaf is
  | "malformed" //          not DER, or not a certificate
  | "no-uri-san"
  | "several-uri-sans" //   SPIFFE X509-SVID §2: validators must reject; one would be judged, the other named
  | "odd-san" //            a kind of name no SVID has, or bytes that are not printable ASCII
  | "not-canonical" //      not spiffe://<trust domain>/ns/<namespace>/sa/<service account>, byte for byte
  | "not-a-leaf"; //        may sign certificates (X509-SVID §5.2)

export type PeerIdentity = { readonly spiffeId: SpiffeId } | { readonly reject: PeerRejection };

/** Istio's leaves have about 700 bytes, SPIRE's 900. */
const MAX_LEAF_BYTES = 16_384;

// OBJECT IDENTIFIERs of RFC 5280 §4.2.1, content bytes in hex.
const SUBJECT_ALT_NAME = "551d11";
const BASIC_CONSTRAINTS = "551d13";
const KEY_USAGE = "551d0f";

// GeneralName, RFC 5280 §4.2.1.6: context tags, primitive.
const RFC822_NAME = 0x81;
const DNS_NAME = 0x82;
const URI_NAME = 0x86;
const IP_ADDRESS = 0x87;

/**
 * Reads the identity. The chain and the signature were verified by the engine; what is said here is only who it is.
 * The text is compared as bytes: no decoding of percent signs, punycode or case, so nothing can be spelled two ways.
 */
export function readPeerCertificate(leaf: Uint8Array): PeerIdentity {
  if (leaf.length > MAX_LEAF_BYTES) return { reject: "too-large" };
  const found = extensionsOf(leaf);
  if (!found) return { reject: "malformed" };
  const authority = mayIssue(found);
  if (authority !== false) return { reject: authority === undefined ? "malformed" : "not-a-leaf" };
  const san = found.get(SUBJECT_ALT_NAME);
  return san ? identityOf(san) : { reject: "no-uri-san" };
}

/** Extension values by OID; undefined when malformed or when one is there twice (RFC 5280 §4.2 forbids it). */
function extensionsOf(leaf: Uint8Array): Map<string, Uint8Array> | undefined {
  const [tbs] = inside(leaf, TAG.sequence) ?? [];
  const fields = tbs?.tag === TAG.sequence ? elements(tbs.content) : undefined;
  const wrapped = fields?.filter((field) => field.tag === contextTag(3));
  if (!wrapped || wrapped.length > 1) return undefined;
  const found = new Map<string, Uint8Array>();
  const [only] = wrapped;
  // A certificate without extensions is a certificate, if useless.
  if (!only) return found;
  for (const extension of inside(only.content, TAG.sequence) ?? [undefined]) {
    const parts = extension?.tag === TAG.sequence ? elements(extension.content) : undefined;
    const oid = parts?.[0];
    const value = parts?.at(-1);
    if (!parts || parts.length < 2 || parts.length > 3 || oid?.tag !== TAG.oid || value?.tag !== TAG.octetString)
      return undefined;
    if (parts.length === 3 && parts[1]?.tag !== TAG.boolean) return undefined;
    const name = hex(oid.content);
    if (found.has(name)) return undefined;
    found.set(name, value.content);
  }
  return found;
}

/** Whether it may sign certificates or revocation lists; undefined when malformed. */
function mayIssue(found: ReadonlyMap<string, Uint8Array>): boolean | undefined {
  const constraints = found.get(BASIC_CONSTRAINTS);
  if (constraints) {
    const parts = inside(constraints, TAG.sequence);
    if (!parts) return undefined;
    if (parts[0]?.tag === TAG.boolean && parts[0].content[0] !== 0) return true;
  }
  const usage = found.get(KEY_USAGE);
  if (!usage) return false;
  const [bits, ...more] = elements(usage) ?? [];
  if (bits?.tag !== TAG.bitString || more.length > 0) return undefined;
  // The first content byte counts unused bits; keyCertSign is bit 5, cRLSign bit 6 of what follows.
  return ((bits.content[1] ?? 0) & 0b0000_0110) !== 0;
}

function identityOf(san: Uint8Array): PeerIdentity {
  const names = inside(san, TAG.sequence);
  if (!names) return { reject: "malformed" };
  const uris: Element[] = [];
  for (const name of names) {
    if (name.tag === URI_NAME) uris.push(name);
    // An SVID may carry these beside its URI. Whatever else there is (otherName, directoryName) has been read in
    // more than one way before, and no authority we speak to issues it.
    else if (name.tag !== DNS_NAME && name.tag !== IP_ADDRESS && name.tag !== RFC822_NAME) return { reject: "odd-san" };
    if (name.tag !== IP_ADDRESS && !printable(name.content)) return { reject: "odd-san" };
  }
  const [uri] = uris;
  if (!uri) return { reject: "no-uri-san" };
  if (uris.length > 1) return { reject: "several-uri-sans" };
  const spiffeId = parseSpiffeId(Buffer.from(uri.content).toString("latin1"));
  return spiffeId ? { spiffeId } : { reject: "not-canonical" };
}

/** IA5String without control bytes and space: 0x21 to 0x7e. */
function printable(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte > 0x20 && byte < 0x7f);
}

/** Remembers what was read, by the certificate's SHA-256, so that each handshake after the first costs one hash. */
export class PeerCertificates {
  readonly #limit: number;
  readonly #known = new Map<string, PeerIdentity>();

  /** @param limit entries kept; the oldest goes first. */
  constructor(limit = 4_096) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#known.size;
  }

  /** A field, so that it may be handed on without its object. */
  readonly read = (leaf: Uint8Array): PeerIdentity => {
    const key = hash("sha256", leaf, "base64");
    const known = this.#known.get(key);
    if (known) return known;
    const read = readPeerCertificate(leaf);
    if (this.#known.size >= this.#limit) {
      const oldest = this.#known.keys().next();
      if (!oldest.done) this.#known.delete(oldest.value);
    }
    this.#known.set(key, read);
    return read;
  };
}
