// The examples of docs/limits.md: each is read as a file of the mesh would be, and each line of requests below it comes at the same instant.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../agent/config/load.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { requestFacts } from "../../agent/l7/request-facts.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { evaluatorOf } from "../../agent/policy/evaluate.ts";
import { judgeRequest } from "../../agent/policy/judge-request.ts";
import { callerOrder, judgementOrder } from "../../agent/policy/judgement-order.ts";
import { RequestLimits, withLimits } from "../../agent/policy/limits.ts";
import { facts, identity } from "../../agent/policy/policy.fake.ts";

const pathOf = (file: string): string => fileURLToPath(new URL(`../../docs/${file}`, import.meta.url));
const page = readFileSync(pathOf("limits.md"), "utf8");
const examples = [...page.matchAll(/^```yaml limit\n([\s\S]*?)^```\n```requests\n([\s\S]*?)^```$/gm)].map(
  ([, spec = "", lines = ""]) => ({ spec, lines: lines.trimEnd().split("\n") }),
);
const place = loadConfig(pathOf("examples/two-nodes.yaml"), {}).agent.settings;

/** `METHOD TARGET [from ACCOUNT] [with NAME=VALUE …] → OUTCOME` */
const line = /^([A-Z]+) (\S+)(?: from (\S+))?(?: with (\S+=\S+(?: \S+=\S+)*))? → (.+)$/;

test("the page has examples", () => assert.equal(examples.length, 4));

for (const [index, { spec, lines }] of examples.entries())
  test(`docs/limits.md, example ${index + 1}`, () => {
    const text = `apiVersion: orlop.dev/v1alpha1
kind: LimitPolicy
metadata: { name: example, namespace: shop }
spec:
${spec.replace(/^(?=.)/gm, "  ")}`;
    const { updates, findings } = translateTexts([{ file: "docs/limits.md", text }], place);
    assert.deepEqual(findings, []);
    const mesh = new MeshStore({ rootNamespace: place.rootNamespace, trustDomain: place.trustDomain });
    mesh.apply(updates);
    const evaluator = evaluatorOf(mesh);
    const limits = new RequestLimits(() => 1n).judgeBy(evaluator.limitsOf);
    for (const written of lines) {
      const [, method = "", target = "", account = "web", sent = "", said = ""] =
        line.exec(written) ?? assert.fail(`cannot read: ${written}`);
      const fields = sent === "" ? [] : sent.split(" ").map((field) => field.split("=", 2));
      const header = (name: string): readonly string[] =>
        fields.flatMap(([field = "", value = ""]) => (field === name ? [value] : []));
      const connection = facts({ sourceIdentity: identity(`cluster.local/ns/shop/sa/${account}`) });
      const request = requestFacts({ method, target, authority: "api", header });
      const judged = judgeRequest(connection, request, evaluator);
      const verdict = withLimits(judged, limits(connection, request));
      const found =
        verdict.verdict === "allow"
          ? `allow${verdict.dryRunDenied.length > 0 ? ", would be over" : ""}`
          : `${verdict.answer.status} after ${verdict.answer.headers?.[0]?.value} s`;
      assert.equal(found, said, written);
    }
  });

test("docs/policy.md has the order of judgement of both ends, as explanations have it", () => {
  const section =
    readFileSync(pathOf("policy.md"), "utf8").split("### Of a request, at both ends\n")[1]?.split("\n## ")[0] ?? "";
  const [caller = "", callee = ""] = section.split("At the callee's node, each try anew:");
  const listed = (text: string): readonly (string | undefined)[] =>
    [...text.matchAll(/^\d+\. ([^:\n]+)/gm)].map(([, what]) => what);
  assert.deepEqual([listed(caller), listed(callee)], [callerOrder, judgementOrder]);
});
