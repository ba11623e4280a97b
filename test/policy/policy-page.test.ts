// The examples of docs/policy.md: each policy is read as a file of the mesh would be, and each line of requests below it is judged.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../agent/config/load.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { requestFacts } from "../../agent/l7/request-facts.ts";
import { headerOf } from "../../agent/mesh/alike-names.ts";
import { ruleName } from "../../agent/mesh/full-name.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { type Evaluator, evaluatorOf } from "../../agent/policy/evaluate.ts";
import { judgeRequest } from "../../agent/policy/judge-request.ts";
import { facts, identity } from "../../agent/policy/policy.fake.ts";

const pathOf = (file: string): string => fileURLToPath(new URL(`../../docs/${file}`, import.meta.url));
const page = readFileSync(pathOf("policy.md"), "utf8");
const examples = [...page.matchAll(/^```yaml request\n([\s\S]*?)^```\n```requests\n([\s\S]*?)^```$/gm)].map(
  ([, yaml = "", lines = ""]) => ({ yaml, lines: lines.trimEnd().split("\n") }),
);

/** `METHOD TARGET [from ACCOUNT] [port PORT] [host HOST] [with NAME=VALUE …] → VERDICT` */
const line =
  /^([A-Za-z]+) +(\S+)(?: from (\S+))?(?: port (\d+))?(?: host (\S+))?(?: with (\S+=\S+(?: \S+=\S+)*))? +→ (.+)$/;

function verdictOf(written: string, evaluator: Evaluator): { readonly said: string; readonly found: string } {
  const [, method = "", target = "", account = "web", port = "8080", authority = "api", sent = "", said = ""] =
    line.exec(written) ?? assert.fail(`cannot read: ${written}`);
  const fields = sent === "" ? [] : sent.split(" ").map((field) => field.split("=", 2));
  const header = headerOf(fields.map(([name = "", value = ""]) => [name.toLowerCase(), value]));
  const connection = facts({
    sourceIdentity: identity(`cluster.local/ns/shop/sa/${account}`),
    destinationPort: Number(port),
  });
  const verdict = judgeRequest(connection, requestFacts({ method, target, authority, header }), evaluator);
  const reports = [
    ...verdict.audited.map((rule) => `audited by ${ruleName(rule)}`),
    ...verdict.dryRunDenied.map((rule) => `would be denied by ${ruleName(rule)}`),
  ];
  const answer = verdict.verdict === "allow" ? "allow" : `${verdict.answer.status} ${verdict.reason}`;
  return { said, found: [answer, ...reports].join(", ") };
}

const place = loadConfig(pathOf("examples/two-nodes.yaml"), {}).agent.settings;

for (const { yaml, lines } of examples) {
  const [name = ""] = /name: [\w-]+/.exec(yaml) ?? [];
  test(`docs/policy.md, ${name}`, async () => {
    const { updates, findings } = await translateTexts([{ file: "docs/policy.md", text: yaml }], place);
    // Until agents read requests, each field of HTTP is reported as not honoured.
    assert.deepEqual(
      findings.filter(({ code }) => code !== "ORL4106"),
      [],
    );
    const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
    mesh.apply(updates);
    const evaluator = evaluatorOf(mesh);
    for (const written of lines) {
      const { said, found } = verdictOf(written, evaluator);
      assert.equal(found, said, written);
    }
  });
}

test("the page has an example of each field of requests, and of each answer", () => {
  const shown = examples.map(({ yaml, lines }) => `${yaml}${lines.join("\n")}`).join("\n");
  for (const word of [
    ...[
      "methods",
      "notMethods",
      "paths",
      "notPaths",
      "hosts",
      "notHosts",
      "request.headers",
      "notValues",
      "{*}",
      "{**}",
    ],
    ...["DENY", "AUDIT", "dry-run", "ambiguous-path", "ambiguous-host", "denied-by-policy", "no-allow-matched"],
  ]) {
    assert.ok(shown.includes(word), word);
  }
  assert.ok(examples.length >= 10, `${examples.length} examples`);
  assert.equal(page.match(/^```requests$/gm)?.length, examples.length);
});
