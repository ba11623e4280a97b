// Tests of explain-offline.ts: a mesh in a file, judged without an agent; bad files with file:line:col and exit 65.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { run } from "./cli.fake.ts";

const workload = (name: string, address: string, node: string): string => `
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { addresses: [${address}], node: ${node}, serviceAccount: ${name} }
---`;

const mesh = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { orlop.dev/dataplane-mode: ambient } }
---${workload("web", "10.0.0.1", "one")}${workload("api", "10.0.1.2", "two")}${workload("cron", "10.0.0.3", "one")}
apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { clusterIP: 10.96.0.7, selector: { app: api }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: shop }
spec:
  selector: { matchLabels: { app: api } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/shop/sa/web] } }]
`;

function file(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-explain-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "mesh.yaml");
  writeFileSync(path, text);
  return path;
}

test("allowed and denied, through the service and directly, with rule and nearest miss", async (t) => {
  const path = file(t, mesh);
  const good = await run(["explain", "shop/web", "shop/api:80", "-f", path, "--expect", "allow"]);
  assert.equal(good.exit, 0, good.err);
  assert.match(good.out, /^ALLOW at layer L4\nshop\/web → shop\/api:80\n 1 source/);
  assert.match(good.out, /decided by AuthorizationPolicy shop\/callers\[0\] at .*mesh\.yaml:\d+/);
  const bad = await run(["explain", "shop/cron", "10.0.1.2:8080", "-f", path, "--expect", "allow"]);
  assert.equal(bad.exit, 79);
  assert.match(bad.out, /^DENY at layer L4: no-allow-matched$/m);
  assert.match(bad.out, /nearest miss: shop\/callers\[0\] wants .*mesh\.yaml:\d+:\d+\)/);
  const data: unknown = JSON.parse((await run(["explain", "shop/cron", "shop/api:80", "-f", path, "-o", "json"])).out);
  assert.equal(Reflect.get(Object(data), "reason"), "no-allow-matched");
});

const readers = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: readers, namespace: shop }
spec:
  selector: { matchLabels: { app: api } }
  rules:
    - to: [{ operation: { methods: [GET], paths: ["/public/{**}"], hosts: [api] } }]
      when: [{ key: "request.headers[x-role]", values: [reader] }]
`;

test("a host above ASCII meets the rule that names it in either form", async (t) => {
  for (const written of ["b\u00fccher.example", "xn--bcher-kva.example"]) {
    const path = file(t, `${mesh}${readers.replace("[api]", `[${written}]`)}`);
    const asked = [
      "explain",
      "shop/web",
      "shop/api:80",
      "-f",
      path,
      "--path",
      "/public/a",
      "--header",
      "x-role=reader",
    ];
    const good = await run([...asked, "--host", "b\u00fccher.example", "--expect", "allow"]);
    assert.equal(good.exit, 0, good.err);
    assert.match(
      good.out,
      / 1 request +GET \/public\/a, host xn--bcher-kva\.example, as callers send b\u00fccher\.example\n/,
    );
    const bad = await run([...asked, "--host", "b\u00fc*"]);
    assert.deepEqual([bad.exit, /is no host of a request: callers send xn--/.test(bad.err)], [64, true], bad.err);
  }
});

test("a request is judged by the rules, and the answer says what a connection without requests gets", async (t) => {
  const path = file(t, `${mesh}${readers}`);
  const asked = ["explain", "shop/cron", "shop/api:80", "-f", path];
  const good = await run([...asked, "--path", "/public/a?b", "--header", "X-Role=reader", "--expect", "allow"]);
  assert.equal(good.exit, 0, good.err);
  assert.match(good.out, /^ALLOW at layer L7\n/);
  assert.doesNotMatch(good.out, / answer /);
  assert.match(good.out, / 1 request +GET \/public\/a, host api\n/);
  assert.match(good.out, /not-http +a connection that is no HTTP\/1\.1: deny \(no-allow-matched\)\n/);
  assert.match(good.out, /decided by AuthorizationPolicy shop\/readers\[0\] at .*mesh\.yaml:\d+/);
  const role = ["--header", "x-role=reader"];
  const misses: readonly (readonly [readonly string[], RegExp])[] = [
    [[...role, "--method", "PUT", "--path", "/public/a"], /operation\.methods wants GET, got PUT$/m],
    [[...role, "--path", "/public/a", "--host", "Other:80"], /operation\.hosts wants api, got other$/m],
    [
      [...role, "--path", "/public/a", "--header", "x-role=other"],
      /when request\.headers\[x-role\] wants reader, got other values$/m,
    ],
    [["--path", "/public/a"], /got no such header/],
  ];
  for (const [options, miss] of misses) {
    const denied = await run([...asked, ...options]);
    assert.match(denied.out, /^DENY at layer L7: no-allow-matched$/m);
    assert.match(denied.out, miss);
    assert.match(denied.out, / answer +the request would be answered 403: RBAC: access denied\n/);
  }
  const dotted = await run([...asked, ...role, "--path", "/public/a/../b"]);
  assert.match(dotted.out, /^DENY at layer L7: ambiguous-path$/m);
  assert.match(dotted.out, / answer +the request would be answered 400: bad request: ambiguous-path\n/);
  assert.match(dotted.out, /got an ambiguous path \(dot-segment\): \/public\/a\/\.\.\/b/);
});

test("what cannot be part of a request is refused, with files or an agent", async (t) => {
  const path = file(t, mesh);
  const asked = ["explain", "shop/web", "shop/api:80"];
  for (const options of [
    ["--method", "GET /"],
    ["--header", "x-role"],
    ["--header", "x role=a"],
  ]) {
    for (const more of [["-f", path], []])
      assert.equal((await run([...asked, ...more, ...options])).exit, 64, options.join(" "));
  }
});

test("a name that is not there, a port that is missing, a file that is wrong", async (t) => {
  const path = file(t, mesh);
  assert.equal((await run(["explain", "shop/nobody", "shop/api:80", "-f", path])).exit, 1);
  assert.equal((await run(["explain", "shop/web", "shop/cron", "-f", path])).exit, 1);
  const wrong = await run(["explain", "a/b", "c/d:1", "-f", file(t, `${mesh}\n  rulez: []\n`)]);
  assert.equal(wrong.exit, 65);
  assert.match(wrong.err, /^orlop: .*mesh\.yaml:\d+:\d+: .* ORL4102\n {2}why: /);
  assert.equal((await run(["explain", "a/b", "c/d:1", "-f", "/nowhere/mesh.yaml"])).exit, 65);
});
