// A root that others have made: an intermediate with its chain, as cert-manager writes it into a Secret, and an openssl root in another form.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { newRequest, signLeaf } from "../identity/csr.ts";
import { CERTIFICATE, KEY, newRootData, ROOTS, readRoot } from "./root.ts";

const folder = mkdtempSync(join(tmpdir(), "orlop-root-"));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const openssl = (...words: readonly string[]): void => void execFileSync("openssl", words, { stdio: "ignore" });
const text = (name: string): string => readFileSync(at(name), "utf8");
const base64 = (content: string): string => Buffer.from(content).toString("base64");
const read = (data: Readonly<Record<string, string>>) => readRoot(data, "the Secret", "cluster.local", Date.now());

const authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
const curve = (group: string) => ["-newkey", "ec", "-pkeyopt", `ec_paramgen_curve:${group}`, "-nodes"];
for (const name of ["root", "other"])
  openssl(
    "req",
    "-x509",
    ...curve("P-256"),
    "-days",
    "30",
    "-subj",
    `/CN=${name}`,
    ...authority,
    "-keyout",
    at(`${name}.key`),
    "-out",
    at(`${name}.pem`),
  );
openssl(
  "req",
  ...curve("P-256"),
  "-subj",
  "/CN=intermediate",
  ...authority,
  "-keyout",
  at("middle.key"),
  "-out",
  at("middle.csr"),
);
openssl(
  ...["x509", "-req", "-in", at("middle.csr"), "-CA", at("root.pem"), "-CAkey", at("root.key"), "-CAcreateserial"],
  ...["-days", "10", "-copy_extensions", "copyall", "-out", at("middle.pem")],
);
openssl("ec", "-in", at("middle.key"), "-out", at("middle.sec1"));

test("an intermediate signs, its chain goes with the leaf, and its root is what is published", async () => {
  for (const key of ["middle.key", "middle.sec1"]) {
    const data = {
      [KEY]: base64(text(key)),
      [CERTIFICATE]: base64(text("middle.pem")),
      [ROOTS]: base64(text("root.pem")),
    };
    const root = await read(data);
    assert.equal(root.fingerprint, new X509Certificate(text("root.pem")).fingerprint256);
    assert.deepEqual(
      root.named.map(({ fingerprint }) => fingerprint),
      [root.fingerprint],
    );
    assert.equal(root.endsMs, new X509Certificate(text("middle.pem")).validToDate.getTime());
    const spiffeText = "spiffe://cluster.local/ns/shop/sa/web";
    const { csrPem, key: unused } = await newRequest(spiffeText);
    unused.wipe();
    const life = { notBefore: new Date(Date.now() - 1_000), notAfter: new Date(Date.now() + 60_000) };
    writeFileSync(at("leaf.pem"), await signLeaf(root.issuer, { csrPem, spiffeText, ...life }));
    writeFileSync(at("chain.pem"), root.intermediatesPem);
    openssl("verify", "-x509_strict", "-CAfile", at("root.pem"), "-untrusted", at("chain.pem"), at("leaf.pem"));
  }
});

test("several roots are named: for a change of roots, or for another trust domain's peers", async () => {
  const root = await read({
    ...{ [KEY]: base64(text("root.key")), [CERTIFICATE]: base64(text("root.pem")) },
    [ROOTS]: base64(text("other.pem") + text("root.pem")),
  });
  assert.deepEqual(
    root.named.map(({ fingerprint }) => fingerprint).toSorted(),
    ["root.pem", "other.pem"].map((name) => new X509Certificate(text(name)).fingerprint256).toSorted(),
  );
  assert.equal(root.intermediatesPem, "");
});

test("what would be refused by an agent is refused here, before anything is published", async () => {
  const intermediate = { [KEY]: base64(text("middle.key")), [CERTIFICATE]: base64(text("middle.pem")) };
  await assert.rejects(read(intermediate), /leads to no root/);
  await assert.rejects(read({ ...intermediate, [ROOTS]: base64(text("other.pem")) }), /leads to no root/);
  const spiffeText = "spiffe://cluster.local/ns/shop/sa/web";
  const { csrPem, key: unused } = await newRequest(spiffeText);
  unused.wipe();
  const { issuer } = await read({ [KEY]: base64(text("root.key")), [CERTIFICATE]: base64(text("root.pem")) });
  const life = { notBefore: new Date(Date.now() - 1_000), notAfter: new Date(Date.now() + 60_000) };
  const leaf = await signLeaf(issuer, { csrPem, spiffeText, ...life });
  await assert.rejects(
    read({ ...intermediate, [ROOTS]: base64(text("root.pem") + leaf) }),
    /may not sign certificates/,
  );
  const late = Date.now() + 11 * 86_400_000;
  const data = { ...intermediate, [ROOTS]: base64(text("root.pem")) };
  await assert.rejects(readRoot(data, "the Secret", "cluster.local", late), /leads to no root|has ended/);
  openssl(
    "req",
    "-x509",
    ...curve("P-384"),
    "-days",
    "30",
    "-subj",
    "/CN=big",
    ...authority,
    "-keyout",
    at("big.key"),
    "-out",
    at("big.pem"),
  );
  const big = { [KEY]: base64(text("big.key")), [CERTIFICATE]: base64(text("big.pem")) };
  await assert.rejects(read(big), /tls\.key of the Secret: its key is not ECDSA P-256/);
});

test("a root that is made has the form that is read, and every root is another", async () => {
  const all = await Promise.all([1, 2].map(() => newRootData("cluster.local", Date.now())));
  const roots = await Promise.all(all.map(read));
  assert.equal(new Set(roots.map(({ fingerprint }) => fingerprint)).size, 2);
});
