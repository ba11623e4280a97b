// main thread · request and answer of istio.v1.auth.IstioCertificateService/CreateCertificate, written and read. Pure; never throws on
// what a peer sent. By hand, because two messages do not pay for a code generator and its library.
// Source of the numbers: istio/api:security/v1alpha1/ca.proto, protocolbuffers/protobuf:src/google/protobuf/struct.proto
import { bytesField, type ProtobufField, protobufFields, textOfField, varintField } from "./protobuf.ts";

export const CREATE_CERTIFICATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

export type CertificateRequest = {
  /** PEM of a PKCS#10 request. */
  readonly csrPem: string;
  /** How long the certificate is wanted for, whole seconds; 0: as long as the authority likes. */
  readonly validitySeconds: number;
  /** The identity that a node's agent asks for in the pod's place. Empty: the caller's own. */
  readonly impersonatedIdentity: string;
};

/** The key in the request's metadata, as ztunnel and istiod write it. */
const IMPERSONATED_IDENTITY = "ImpersonatedIdentity";

// IstioCertificateRequest
const CSR = 1;
const VALIDITY_DURATION = 3;
const METADATA = 4;
// IstioCertificateResponse
const CERT_CHAIN = 1;
// google.protobuf.Struct, its map's entries, and google.protobuf.Value
const FIELDS = 1;
const KEY = 1;
const VALUE = 2;
const STRING_VALUE = 3;

const MAX_CHAIN = 16;

/** The message istio.v1.auth.IstioCertificateRequest, in protobuf's wire form (istio/api:security/v1alpha1/ca.proto). */
export function encodeCertificateRequest(request: CertificateRequest): Uint8Array {
  const { csrPem, validitySeconds, impersonatedIdentity } = request;
  // As proto3 has it: what is empty or zero is left out.
  const parts = csrPem === "" ? [] : [bytesField(CSR, csrPem)];
  if (validitySeconds > 0) parts.push(varintField(VALIDITY_DURATION, BigInt(validitySeconds)));
  if (impersonatedIdentity !== "") {
    const value = bytesField(STRING_VALUE, impersonatedIdentity);
    const entry = Buffer.concat([bytesField(KEY, IMPERSONATED_IDENTITY), bytesField(VALUE, value)]);
    parts.push(bytesField(METADATA, bytesField(FIELDS, entry)));
  }
  return Buffer.concat(parts);
}

/**
 * undefined: not such a message, or a form of it that two readers could take differently: a field or a key that is there twice, a length of life
 * that is negative, metadata that is no string. Fields and keys of other names are passed over.
 */
export function decodeCertificateRequest(bytes: Uint8Array): CertificateRequest | undefined {
  const fields = protobufFields(bytes);
  if (fields === undefined) return undefined;
  const [csr, validity, metadata] = [CSR, VALIDITY_DURATION, METADATA].map((number) => onlyOf(fields, number));
  if (csr === "several" || validity === "several" || metadata === "several") return undefined;
  const csrPem = csr === undefined ? "" : textOfField(csr);
  const validitySeconds = validity === undefined ? 0 : secondsOf(validity);
  const impersonatedIdentity = metadata === undefined ? "" : identityIn(metadata);
  if (csrPem === undefined || validitySeconds === undefined || impersonatedIdentity === undefined) return undefined;
  return { csrPem, validitySeconds, impersonatedIdentity };
}

/** @param chain PEM, the leaf first */
export function encodeCertificateAnswer(chain: readonly string[]): Uint8Array {
  return Buffer.concat(chain.map((pem) => bytesField(CERT_CHAIN, pem)));
}

/** The texts of the chain, of which each may hold several certificates; undefined when it is no such message or has over 16 texts. */
export function decodeCertificateAnswer(bytes: Uint8Array): readonly string[] | undefined {
  const chain = protobufFields(bytes)?.filter(({ number }) => number === CERT_CHAIN);
  if (chain === undefined || chain.length > MAX_CHAIN) return undefined;
  const texts = chain.map(textOfField).filter((text) => text !== undefined);
  return texts.length === chain.length ? texts : undefined;
}

function onlyOf(fields: readonly ProtobufField[], number: number): ProtobufField | "several" | undefined {
  const found = fields.filter((field) => field.number === number);
  return found.length > 1 ? "several" : found[0];
}

/** An int64 of which the negative half has its highest bit set. */
function secondsOf(field: ProtobufField): number | undefined {
  if (field.type !== "varint" || field.value > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return Number(field.value);
}

/** Empty: the Struct does not name the key. */
function identityIn(metadata: ProtobufField): string | undefined {
  const entries = metadata.type === "bytes" ? protobufFields(metadata.value) : undefined;
  if (entries === undefined) return undefined;
  let found = "";
  const keys = new Set<string>();
  for (const entry of entries) {
    if (entry.number !== FIELDS) continue;
    const parts = entry.type === "bytes" ? protobufFields(entry.value) : undefined;
    const [key, value] = [KEY, VALUE].map((number) => onlyOf(parts ?? [], number));
    if (parts === undefined || key === undefined || key === "several" || value === "several") return undefined;
    const name = textOfField(key);
    if (name === undefined || keys.has(name)) return undefined;
    keys.add(name);
    const text = value === undefined ? undefined : stringIn(value);
    if (text === undefined) return undefined;
    if (name === IMPERSONATED_IDENTITY) found = text;
  }
  return found;
}

/** The text of a google.protobuf.Value; undefined when it is of another type or has two. */
function stringIn(value: ProtobufField): string | undefined {
  const [only, ...more] = (value.type === "bytes" ? protobufFields(value.value) : undefined) ?? [];
  return only?.number === STRING_VALUE && more.length === 0 ? textOfField(only) : undefined;
}
