// bench · certificates of the peers, made anew for each run in its own directory: one CA, a leaf per end, P-256.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { installed } from "./programs.ts";

export type Leaf = {
  readonly certificate: string;
  readonly key: string;
  /** Certificate and key in one file. */
  readonly both: string;
};
export type Certificates = { readonly ca: string; readonly client: Leaf; readonly server: Leaf };

/** The name in the server's certificate, which the client side checks. */
export const SERVER_NAME = "server.bench";

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"];

function openssl(folder: string, ...args: readonly string[]): void {
  execFileSync(installed("openssl"), args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
}

export function makeCertificates(folder: string): Certificates {
  const made = ["-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench CA"];
  openssl(folder, "req", "-x509", ...newKey, ...made);
  const ca = { certificate: path.join(folder, "ca.pem"), key: path.join(folder, "ca.key") };
  const leaf = (name: string): Leaf => signLeaf(folder, ca, { name, san: `DNS:${name}.bench` });
  return { ca: ca.certificate, client: leaf("client"), server: leaf("server") };
}

/** Of a server at 127.0.0.1, which signs for itself. */
export function makeApiCertificate(folder: string): { readonly certificate: string; readonly key: string } {
  const made = ["-keyout", "api.key", "-out", "api.pem", "-days", "2", "-subj", "/CN=api"];
  openssl(folder, "req", "-x509", ...newKey, ...made, "-addext", "subjectAltName=IP:127.0.0.1");
  return { certificate: path.join(folder, "api.pem"), key: path.join(folder, "api.key") };
}

/** A new key and its certificate. `san` as openssl's subjectAltName writes it. */
export function signLeaf(
  folder: string,
  ca: { readonly certificate: string; readonly key: string },
  { name, san }: { readonly name: string; readonly san: string },
): Leaf {
  openssl(folder, "req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
  writeFileSync(
    path.join(folder, `${name}.ext`),
    `subjectAltName=${san}\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n` +
      "extendedKeyUsage=serverAuth,clientAuth\n",
  );
  const signed = ["-CA", ca.certificate, "-CAkey", ca.key, "-CAcreateserial", "-CAserial", `${name}.serial`];
  const more = ["-days", "1", "-extfile", `${name}.ext`];
  openssl(folder, "x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, ...signed, ...more);
  const file = (ending: string): string => path.join(folder, `${name}.${ending}`);
  writeFileSync(file("both"), readFileSync(file("pem"), "utf8") + readFileSync(file("key"), "utf8"), { mode: 0o600 });
  return { certificate: file("pem"), key: file("key"), both: file("both") };
}
