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

test("a name that is not there, a port that is missing, a file that is wrong", async (t) => {
  const path = file(t, mesh);
  assert.equal((await run(["explain", "shop/nobody", "shop/api:80", "-f", path])).exit, 1);
  assert.equal((await run(["explain", "shop/web", "shop/cron", "-f", path])).exit, 1);
  const wrong = await run(["explain", "a/b", "c/d:1", "-f", file(t, `${mesh}\n  rulez: []\n`)]);
  assert.equal(wrong.exit, 65);
  assert.match(wrong.err, /^orlop: .*mesh\.yaml:\d+:\d+: .* ORL4102\n {2}why: /);
  assert.equal((await run(["explain", "a/b", "c/d:1", "-f", "/nowhere/mesh.yaml"])).exit, 65);
});
