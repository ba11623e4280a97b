// fuzz · what the authority and its clients read of each other: messages of the certificate service, and requests for signature.
import assert from "node:assert/strict";
import { newRoot } from "../../agent/identity/authority.fake.ts";
import {
  decodeCertificateAnswer,
  decodeCertificateRequest,
  encodeCertificateAnswer,
  encodeCertificateRequest,
} from "../../agent/identity/certificate-messages.ts";
import { readRequest, signLeaf } from "../../agent/identity/csr.ts";
import { onlyGrpcMessage } from "../../agent/identity/grpc-message.ts";

const { issuer } = await newRoot();

/** What is read, written and read again, is the same; a frame of gRPC is read before it. */
export function certificateMessage(bytes: Buffer): string {
  const framed = onlyGrpcMessage(bytes);
  const request = decodeCertificateRequest(framed ?? bytes);
  if (request !== undefined) assert.deepEqual(decodeCertificateRequest(encodeCertificateRequest(request)), request);
  const chain = decodeCertificateAnswer(framed ?? bytes);
  if (chain !== undefined) assert.deepEqual(decodeCertificateAnswer(encodeCertificateAnswer(chain)), chain);
  const has = [request?.csrPem, request?.validitySeconds, request?.impersonatedIdentity].map((part) =>
    part ? "x" : "-",
  );
  return `${framed === undefined ? "bare" : "framed"} ${request === undefined ? "refused" : has.join("")} ${chain?.length}`;
}

/** A request is refused, or signed for the one name that it has and no other. */
export async function signingRequest(bytes: Buffer): Promise<string> {
  const csrPem = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
  let read: ReturnType<typeof readRequest>;
  try {
    read = readRequest(csrPem);
  } catch {
    return "unreadable";
  }
  const spiffeText = "spiffe://cluster.local/ns/shop/sa/web";
  const life = { notBefore: new Date(0), notAfter: new Date(60_000) };
  const isSigned = await signLeaf(issuer, { csrPem, spiffeText, ...life }).then(
    () => true,
    () => false,
  );
  if (isSigned) assert.deepEqual(read.names, [spiffeText]);
  return `${isSigned ? "signed" : "refused"} ${read.key.slice(0, 11)} ${Math.min(read.names.length, 3)}`;
}
