// test peers · a certificate authority for ztunnel: istio.v1.auth.IstioCertificateService over gRPC and TLS
// (istio/ztunnel:proto/citadel.proto, src/identity/caclient.rs). It signs what it is asked for and looks at no token.
//   node istio-ca.ts HOST PORT ROOT_CERT ROOT_KEY CERT KEY      PEM files; prints `listening`
import "reflect-metadata";
import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import { buffer } from "node:stream/consumers";
import * as x509 from "@peculiar/x509";
import { type Issuer, signLeaf } from "../../../agent/identity/csr.ts";
import { fieldsOf, grpcMessage, stringField } from "./protobuf.ts";

const PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/** Numbers of fields in citadel.proto. */
const CSR = 1;
const VALIDITY_SECONDS = 3;
const CERT_CHAIN = 1;
const BACKDATE_MS = 60_000;
const LONGEST_SECONDS = 86_400;

const [host = "", port = "0", rootFile = "", rootKey = "", certificate = "", key = ""] = process.argv.slice(2);
const rootPem = readFileSync(rootFile, "utf8");
const authority: Issuer = {
  certificate: new x509.X509Certificate(new X509Certificate(rootPem).raw),
  key: await webcrypto.subtle.importKey(
    "pkcs8",
    createPrivateKey(readFileSync(rootKey)).export({ type: "pkcs8", format: "der" }),
    { name: "ECDSA", namedCurve: "P-256" },
    false,
    ["sign"],
  ),
  selfSigned: true,
};

/** The chain for one request: the leaf first, the root last, as istiod answers. */
async function chainFor(message: Buffer): Promise<readonly string[]> {
  const fields = fieldsOf(message);
  const csr = fields.find(({ number }) => number === CSR)?.value;
  if (!(csr instanceof Buffer)) throw new Error("the request has no csr");
  const csrPem = csr.toString("utf8");
  const { extensions } = new x509.Pkcs10CertificateRequest(csrPem);
  const names = extensions.find((extension) => extension instanceof x509.SubjectAlternativeNameExtension)?.names;
  const asked = Number(fields.find(({ number }) => number === VALIDITY_SECONDS)?.value ?? LONGEST_SECONDS);
  const now = Date.now();
  const leaf = await signLeaf(authority, {
    csrPem,
    spiffeText: names?.items[0]?.value ?? "",
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + 1000 * Math.min(asked || LONGEST_SECONDS, LONGEST_SECONDS)),
  });
  return [`${leaf.trim()}\n`, rootPem];
}

async function answer(stream: ServerHttp2Stream, path: string | undefined): Promise<void> {
  const end = (status: number, message: string, body: Buffer = Buffer.alloc(0)): void => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => {
      stream.sendTrailers({ "grpc-status": status, "grpc-message": encodeURIComponent(message) });
    });
    stream.end(body);
  };
  try {
    if (path !== PATH) return end(12, `no method ${path}`);
    const chain = await chainFor((await buffer(stream)).subarray(5));
    end(0, "", grpcMessage(Buffer.concat(chain.map((pem) => stringField(CERT_CHAIN, pem)))));
  } catch (error) {
    end(3, error instanceof Error ? error.message : String(error));
  }
}

const server = createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key) });
server.on("stream", (stream, headers) => {
  // A client may go while its certificate is signed.
  stream.on("error", () => {});
  void answer(stream, headers[":path"]);
});
server.on("sessionError", () => {});
server.listen(Number(port), host, () => process.stdout.write("listening\n"));
