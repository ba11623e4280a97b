// Where the API server is and who asks: a pod's service account, kubeconfigs of several forms, and those that are refused.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ConfigError } from "../kinds/value.ts";
import { kubeconfig, serviceAccount } from "./credentials.ts";

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-credentials-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}
const inline = (text: string): string => Buffer.from(text).toString("base64");

function configText(cluster: string, user: string, more = ""): string {
  return `apiVersion: v1
kind: Config
current-context: b
preferences: {colors: true}
clusters:
- {name: other, cluster: {server: "https://other:1"}}
- {name: c, cluster: ${cluster}}
users:
- {name: u, user: ${user}}
contexts:
- {name: a, context: {cluster: other, user: u}}
- {name: b, context: {cluster: c, user: u, namespace: shop}}
${more}`;
}

test("a service account's token is read again each time, since the kubelet renews it", (t) => {
  const folder = folderOf(t);
  writeFileSync(join(folder, "ca.crt"), "the authority\n");
  writeFileSync(join(folder, "token"), "one\n");
  const account = serviceAccount("https://10.96.0.1:443", folder);
  assert.deepEqual([account.server, account.ca(), account.token()], ["https://10.96.0.1:443", "the authority", "one"]);
  writeFileSync(join(folder, "token"), "two\n");
  assert.equal(account.token(), "two");
  rmSync(join(folder, "token"));
  assert.throws(() => account.token());
});

test("a kubeconfig's current context is read, with files beside it or texts in it", (t) => {
  const folder = folderOf(t);
  const file = join(folder, "config");
  // As long as certificates in base64 are.
  const [ca, cert, key] = ["ca", "cert", "key"].map((text) => `${text} `.repeat(2_000)) as [string, string, string];
  writeFileSync(
    file,
    configText(
      `{server: "https://127.0.0.1:6443", certificate-authority-data: ${inline(ca)}}`,
      `{client-certificate-data: ${inline(cert)}, client-key-data: ${inline(key)}}`,
    ),
  );
  const whole = kubeconfig(file);
  assert.deepEqual([whole.server, whole.ca(), whole.token()], ["https://127.0.0.1:6443", ca, ""]);
  assert.deepEqual(whole.client, { cert, key });

  for (const name of ["ca", "token"]) writeFileSync(join(folder, name), `${name} of a file\n`);
  writeFileSync(file, configText('{server: "https://[::1]:6443", certificate-authority: ca}', "{tokenFile: token}"));
  const apart = kubeconfig(file);
  assert.deepEqual([apart.ca(), apart.token(), apart.client], ["ca of a file\n", "token of a file", null]);
  writeFileSync(join(folder, "token"), "renewed");
  assert.equal(apart.token(), "renewed");
});

test("what does not say which server, or as whom, is refused with its place", (t) => {
  const file = join(folderOf(t), "config");
  const server = '{server: "https://127.0.0.1:6443"}';
  for (const [text, why] of [
    ["", /should be a map/],
    ["kind: [", /ORL4101/],
    [configText(server, "{exec: {command: aws}}"), /has no token and no certificate/],
    [configText('{server: "http://127.0.0.1:8080"}', "{token: x}"), /is no https address/],
    [configText(server, "{token: x}").replace("current-context: b", "current-context: z"), /"z" has no cluster/],
    [configText(server, "{tokenFile: 7}"), /users\[0\]\.user\.tokenFile should be/],
    [configText('{server: "https://a", certificate-authority: away}', "{token: x}"), /away: cannot read it/],
  ] as const) {
    writeFileSync(file, text);
    assert.throws(
      () => kubeconfig(file),
      (error) => error instanceof ConfigError && why.test(error.message),
      String(why),
    );
  }
  assert.throws(() => kubeconfig(`${file}.none`), ConfigError);
});
