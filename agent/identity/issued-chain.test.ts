// The path from a leaf to a trusted root, over certificates that an authority put into its answer: what openssl takes is taken, and nothing
// leads there that may not sign.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { newRoot } from "./authority.fake.ts";
import { type Issuer, newRequest, readAuthority, signLeaf } from "./csr.ts";
import { checkChain } from "./issued-chain.ts";

const folder = mkdtempSync(join(tmpdir(), "orlop-chain-"));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const text = (name: string): string => readFileSync(at(name), "utf8");
const openssl = (...words: readonly string[]): void => void execFileSync("openssl", words, { stdio: "ignore" });

const authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** An authority `name` that `by` has signed; by itself when `by` is its own name. */
function make(name: string, by: string): void {
  const files = ["-keyout", at(`${name}.key`), "-subj", `/CN=${name}`, ...authority];
  if (name === by) {
    openssl("req", "-x509", ...curve, "-days", "30", ...files, "-out", at(`${name}.pem`));
    return;
  }
  openssl("req", ...curve, ...files, "-out", at(`${name}.csr`));
  sign(name, by, `${name}.pem`);
}

function sign(name: string, by: string, to: string): void {
  const signer = ["-CA", at(`${by}.pem`), "-CAkey", at(`${by}.key`), "-CAcreateserial"];
  openssl(
    "x509",
    "-req",
    "-in",
    at(`${name}.csr`),
    ...signer,
    "-days",
    "10",
    "-copy_extensions",
    "copyall",
    "-out",
    at(to),
  );
}

make("root", "root");
make("other", "other");
const names = ["one", "two", "three", "four", "five", "six"];
for (const [index, name] of names.entries()) make(name, names[index - 1] ?? "root");
// The second names the sixth as its issuer: a ring.
sign("two", "six", "two-by-six.pem");

const web = spiffeId("cluster.local", "shop", "web");
const life = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 600_000) };
const issuerOf = (name: string): Promise<Issuer> =>
  readAuthority(Buffer.from(text(`${name}.key`)), text(`${name}.pem`));

async function leafOf(issuer: Issuer) {
  const { key, csrPem, publicKey } = await newRequest(web.text);
  const leaf = await signLeaf(issuer, { csrPem, spiffeText: web.text, ...life });
  return { key, leaf, asked: { identity: web, publicKey, validitySeconds: 600 } };
}

test("a path over intermediates is found in any order, and the chain is that path without the root", async () => {
  const { leaf, asked, key } = await leafOf(await issuerOf("three"));
  key.wipe();
  const shuffled = [leaf, text("other.pem"), text("two.pem"), text("root.pem"), text("three.pem"), text("one.pem")];
  const checked = checkChain(shuffled, asked, [text("other.pem"), text("root.pem")], Date.now());
  const expected = [leaf, text("three.pem"), text("two.pem"), text("one.pem")].map((pem) => pem.trim());
  assert.equal(checked.chainPem, `${expected.join("\n")}\n`);
  assert.equal(checked.notAfterMs, Math.floor(life.notAfter.getTime() / 1_000) * 1_000);
  // One text may hold several certificates.
  assert.deepEqual(checkChain([shuffled.join("\n")], asked, [text("root.pem")], Date.now()), checked);
  // An intermediate may be what is trusted.
  assert.equal(
    checkChain([leaf, text("three.pem")], asked, [text("two.pem")], Date.now()).chainPem.match(/BEGIN/g)?.length,
    2,
  );
});

test("no path: a missing link, too many links, a ring, or a root that nobody trusts", async () => {
  const { leaf, asked, key } = await leafOf(await issuerOf("six"));
  key.wipe();
  const all = names.map((name) => text(`${name}.pem`));
  const refused = (chain: readonly string[], roots: readonly string[]): void =>
    assert.throws(() => checkChain(chain, asked, roots, Date.now()), /leads to no trusted root/);
  refused([leaf, ...all], [text("root.pem")]);
  refused([leaf, ...all.slice(1)], [text("root.pem")]);
  refused([leaf, ...all], [text("other.pem")]);
  refused(
    [leaf, text("six.pem"), text("five.pem"), text("four.pem"), text("three.pem"), text("two-by-six.pem")],
    [text("root.pem")],
  );
  refused([leaf], []);
  assert.ok(checkChain([leaf, ...all.slice(1)], asked, [text("one.pem")], Date.now()));
});

test("a certificate of a pod signs for nobody", async () => {
  const { issuer, pem: root } = await newRoot();
  const { key, leaf } = await leafOf(issuer);
  const keyPem = key.take((pkcs8) =>
    createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" }).export({
      type: "pkcs8",
      format: "pem",
    }),
  );
  const signed = await leafOf(await readAuthority(Buffer.from(String(keyPem)), leaf));
  signed.key.wipe();
  assert.throws(() => checkChain([signed.leaf, leaf], signed.asked, [root], Date.now()), /leads to no trusted root/);
  // Not even where somebody put it among the roots.
  assert.throws(() => checkChain([signed.leaf], signed.asked, [leaf], Date.now()), /leads to no trusted root/);
});
