// Tests of impact.ts: the open connections of an agent, judged by files that are not in force yet.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { aRecord } from "../observe/record.fake.ts";
import { Recorder } from "../observe/recorder.ts";
import { fakeAgent } from "./cli.fake.ts";

const workload = (name: string, address: string): string => `
apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }
spec: { addresses: [${address}], node: one, serviceAccount: ${name} }
---`;
const mesh = (more: string): string => `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { orlop.dev/dataplane-mode: ambient } }
---${workload("web", "10.0.0.1")}${workload("api", "10.0.1.2")}
${more}`;
const readers = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: readers, namespace: shop }
spec:
  selector: { matchLabels: { app: api } }
  rules: [{ to: [{ operation: { methods: [GET] } }] }]
`;

test("connections that the files would end are counted with their reason, and nothing else is printed", async (t) => {
  const recorder = new Recorder({ thread: 0, labelSets: 10, now: () => 1, log: () => undefined });
  const end = { address: "10.0.1.2", port: 8080 };
  for (let nth = 0; nth < 3; nth++) {
    const record = aRecord();
    const destination = { ...record.destination, ...end };
    recorder.opened({
      ...record,
      reporter: "destination",
      direction: "inbound",
      hbone: end,
      destination,
      security: "mtls",
    });
  }
  const connections = async (limit: number) => recorder.connections(limit).map((one) => ({ ...one, transport: null }));
  const agent = await fakeAgent(t, { connections });
  const folder = mkdtempSync(join(tmpdir(), "orlop-impact-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const same = await agent.run("explain", "--impact", "-f", file("same.yaml", mesh("")));
  assert.deepEqual([same.exit, same.out, same.err], [0, "0 of 3 open connections of this node's pods would end\n", ""]);
  const next = file("next.yaml", mesh(readers));
  const { out } = await agent.run("explain", "--impact", "-f", next);
  assert.match(
    out,
    /^3 of 3 open .*\nWORKLOAD +PORT +CALLER +CONNECTIONS +WHY\nshop\/api +8080 +spiffe:\S+ +3 +http-required\n$/,
  );
  const shown: unknown = JSON.parse((await agent.run("explain", "--impact", "-f", next, "-o", "json")).out);
  assert.partialDeepStrictEqual(shown, {
    judged: 3,
    notJudged: 0,
    ends: [{ reason: "http-required", connections: 3 }],
  });
  assert.equal((await agent.run("explain", "--impact")).exit, 64);
  assert.equal((await agent.run("explain", "--impact", "-f", file("bad.yaml", "kind: [\n"))).exit, 65);
});
