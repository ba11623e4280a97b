// The two messages of the certificate service: read back as written, held against bytes that protobuf's own library made, strict about
// what two readers could take differently, and never thrown off by random bytes. test/peers/authority asks grpcio and istiod.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  type CertificateRequest,
  decodeCertificateAnswer,
  decodeCertificateRequest,
  encodeCertificateAnswer,
  encodeCertificateRequest,
} from "./certificate-messages.ts";
import { frameGrpcMessage, onlyGrpcMessage, readGrpcText, writeGrpcText } from "./grpc-message.ts";
import { bytesField, protobufFields, varintField } from "./protobuf.ts";

const bytes = (hex: string): Uint8Array => Buffer.from(hex.replaceAll(/\s/g, ""), "hex");
const requests: fc.Arbitrary<CertificateRequest> = fc.record(
  {
    csrPem: fc.string({ unit: "grapheme" }),
    validitySeconds: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    impersonatedIdentity: fc.string({ unit: "grapheme" }),
  },
  { noNullPrototype: true },
);

test("what is written is read back", () => {
  fc.assert(
    fc.property(requests, (request) =>
      assert.deepEqual(decodeCertificateRequest(encodeCertificateRequest(request)), request),
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme" }), { maxLength: 16 }), (chain) =>
      assert.deepEqual(decodeCertificateAnswer(encodeCertificateAnswer(chain)), chain),
    ),
  );
});

test("the bytes are those that protobuf 7.36.2 for Python makes (test/peers/authority/messages.py)", () => {
  // IstioCertificateRequest(csr="c", validity_duration=86400, metadata={"ImpersonatedIdentity": "spiffe://a"})
  const known = bytes(
    "0a0163 1880a305 2226 0a24 0a14 496d706572736f6e617465644964656e74697479 120c 1a0a 7370696666653a2f2f61",
  );
  const request = { csrPem: "c", validitySeconds: 86_400, impersonatedIdentity: "spiffe://a" };
  assert.deepEqual(Buffer.from(encodeCertificateRequest(request)), known);
  assert.deepEqual(decodeCertificateRequest(known), request);
});

test("fields and keys of other names are passed over", () => {
  const other = bytesField(1, Buffer.concat([bytesField(1, "other"), bytesField(2, bytesField(3, "text"))]));
  const named = encodeCertificateRequest({ csrPem: "c", validitySeconds: 0, impersonatedIdentity: "spiffe://a" });
  const [, metadata] = protobufFields(named) ?? [];
  const entries = metadata?.type === "bytes" ? metadata.value : assert.fail("no metadata");
  const message = Buffer.concat([
    bytesField(1, "c"),
    varintField(9, 7n),
    bytes("51 0000000000000000"),
    bytes("5d 00000000"),
    bytesField(4, Buffer.concat([other, entries])),
  ]);
  assert.deepEqual(decodeCertificateRequest(message), {
    ...{ csrPem: "c", validitySeconds: 0, impersonatedIdentity: "spiffe://a" },
  });
});

describe("what two readers could take differently is refused", () => {
  const entry = (value: Uint8Array) =>
    bytesField(1, Buffer.concat([bytesField(1, "ImpersonatedIdentity"), bytesField(2, value)]));
  const identity = entry(bytesField(3, "spiffe://a"));
  const cases: Readonly<Record<string, Uint8Array>> = {
    "a csr that is there twice": Buffer.concat([bytesField(1, "a"), bytesField(1, "b")]),
    "a length of life that is there twice": Buffer.concat([varintField(3, 1n), varintField(3, 2n)]),
    "metadata that is there twice": Buffer.concat([bytesField(4, identity), bytesField(4, identity)]),
    "a key that is there twice": bytesField(4, Buffer.concat([identity, identity])),
    "an entry with two keys": bytesField(4, bytesField(1, Buffer.concat([bytesField(1, "a"), bytesField(1, "b")]))),
    "an entry without a key": bytesField(4, bytesField(1, bytesField(2, bytesField(3, "x")))),
    "an identity that is a number": bytesField(4, entry(bytes("11 0000000000000000"))),
    "an identity of two types": bytesField(4, entry(Buffer.concat([bytesField(3, "a"), varintField(4, 1n)]))),
    "an identity without a value": bytesField(4, bytesField(1, bytesField(1, "ImpersonatedIdentity"))),
    "another key that is no string": bytesField(
      4,
      bytesField(1, Buffer.concat([bytesField(1, "a"), bytesField(2, bytes("2000"))])),
    ),
    "a negative length of life": varintField(3, (1n << 64n) - 1n),
    "a length of life beyond exact numbers": varintField(3, 1n << 60n),
    "a length of life that is a string": bytesField(3, "1"),
    "a csr that is no UTF-8": bytes("0a01ff"),
    "a number in a longer form": bytes("188000"),
    "a length beyond the end": bytes("0a05 61"),
    "a varint without its end": bytes("18ff"),
    "eleven bytes of varint": bytes(`18 ${"ff".repeat(10)}01`),
    "a field number of none": bytes("0000"),
    "a group": bytes("0b 0c"),
    "a fixed field that is cut": bytes("5100"),
    "more fields than any message has": Buffer.alloc(1_000, bytes("4800")),
  };
  for (const [name, message] of Object.entries(cases)) {
    test(name, () => assert.equal(decodeCertificateRequest(message), undefined));
  }
  test("an answer of over sixteen texts, and one that is no UTF-8", () => {
    assert.equal(decodeCertificateAnswer(encodeCertificateAnswer(Array<string>(17).fill(""))), undefined);
    assert.equal(decodeCertificateAnswer(bytes("0a01ff")), undefined);
  });
});

test("random and changed bytes are read or refused, and what is read is written to the same meaning", () => {
  const changed = fc
    .tuple(requests, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }))
    .map(([request, changes]) => {
      const message = Buffer.from(encodeCertificateRequest(request));
      for (const [at, byte] of changes) if (message.length > 0) message[at % message.length] = byte;
      return message;
    });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), changed), (message) => {
      const read = decodeCertificateRequest(message);
      if (read !== undefined) assert.deepEqual(decodeCertificateRequest(encodeCertificateRequest(read)), read);
      decodeCertificateAnswer(message);
      onlyGrpcMessage(message);
    }),
    { numRuns: 2_000 },
  );
});

test("a frame holds exactly one message, uncompressed", () => {
  const framed = Buffer.from(frameGrpcMessage(Buffer.from("abc")));
  assert.deepEqual(framed, Buffer.from("\0\0\0\0\x03abc"));
  assert.deepEqual(onlyGrpcMessage(framed), Buffer.from("abc"));
  for (const odd of [
    framed.subarray(0, 4),
    framed.subarray(0, 7),
    Buffer.concat([framed, framed]),
    Buffer.from("\x01\0\0\0\x03abc"),
  ])
    assert.equal(onlyGrpcMessage(odd), undefined);
});

test("a text goes through grpc-message and comes out printable", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      const header = writeGrpcText(text);
      assert.match(header, /^[\x20-\x7e]*$/);
      assert.match(readGrpcText(header), /^[\x20-\x7e]*$/);
      assert.match(readGrpcText(text), /^[\x20-\x7e]*$/);
    }),
  );
  assert.equal(readGrpcText(writeGrpcText("100 % of shop/web")), "100 % of shop/web");
});
