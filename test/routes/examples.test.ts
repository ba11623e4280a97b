// The examples of docs/resilience.md: each is read as a DestinationRule of a mesh's file, and says what is below it. And of each kind every field that
// counts is in an example of its page, all of which tests read.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import { trafficView } from "../../agent/admin/traffic-views.ts";
import { loadConfig } from "../../agent/config/load.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { variedKinds } from "./varied-fields.ts";

const textOf = (file: string): string => readFileSync(new URL(`../../docs/${file}`, import.meta.url), "utf8");
const pages: Readonly<Record<string, string>> = {
  ...{ HTTPRoute: "routes.md", GRPCRoute: "routes.md", TCPRoute: "routes.md", TLSRoute: "routes.md" },
  ...{ DestinationRule: "resilience.md", LimitPolicy: "limits.md" },
};
const place = loadConfig(new URL("../../docs/examples/two-nodes.yaml", import.meta.url).pathname, {}).agent.settings;

const example = /^```yaml traffic(?: with (\{.*\}))?\n([\s\S]*?)^```\n```says\n([\s\S]*?)^```$/gm;
const examples = [...textOf("resilience.md").matchAll(example)].map(([, rate, policy = "", lines = ""]) => {
  return { rate, policy, lines: lines.trimEnd().split("\n") };
});

test("docs/resilience.md has examples", () => assert.ok(examples.length >= 7, `${examples.length}`));

for (const [index, { rate, policy, lines }] of examples.entries())
  test(`docs/resilience.md, example ${index + 1}`, () => {
    const annotations = rate === undefined ? "" : `, annotations: { orlop.dev/success-rate: '${rate}' }`;
    const text = `apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { clusterIP: 10.96.0.1, selector: { app: api }, ports: [{ name: http, port: 80 }] }
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api, namespace: shop${annotations} }
spec:
  host: api
  trafficPolicy:
${policy.replace(/^(?=.)/gm, "    ")}`;
    const { updates, findings } = translateTexts([{ file: "docs/resilience.md", text }], place);
    assert.deepEqual(findings, []);
    const mesh = new MeshStore({ rootNamespace: place.rootNamespace, trustDomain: place.trustDomain });
    mesh.apply(updates);
    const [service = assert.fail("no Service")] = mesh.services();
    const { preference } = service.loadBalancing;
    const prefers = preference.length === 0 ? [] : [`prefers the same ${preference.join(", ")}`];
    assert.deepEqual([...trafficView(service.traffic ?? assert.fail("it says nothing")).texts, ...prefers], lines);
  });

/** What each fence of a page holds of an object: rules, a spec, a trafficPolicy, or whole objects. */
const fences: readonly { readonly fence: RegExp; readonly kind: string; readonly at: readonly string[] }[] = [
  { fence: /^```yaml route.*\n([\s\S]*?)^```$/gm, kind: "HTTPRoute", at: ["spec"] },
  { fence: /^```yaml grpc route.*\n([\s\S]*?)^```$/gm, kind: "GRPCRoute", at: ["spec"] },
  { fence: /^```yaml TCPRoute\n([\s\S]*?)^```$/gm, kind: "TCPRoute", at: ["spec"] },
  { fence: /^```yaml TLSRoute\n([\s\S]*?)^```$/gm, kind: "TLSRoute", at: ["spec"] },
  { fence: /^```yaml limit\n([\s\S]*?)^```$/gm, kind: "LimitPolicy", at: ["spec"] },
  { fence: /^```yaml traffic.*\n([\s\S]*?)^```$/gm, kind: "DestinationRule", at: ["spec", "trafficPolicy"] },
];

/** Without the places in lists: `spec.rules.name`. */
function pathsOf(tree: unknown, before: readonly string[], into: Set<string>): void {
  into.add(before.join("."));
  if (typeof tree !== "object" || tree === null) return;
  for (const [step, each] of Object.entries(tree))
    pathsOf(each, Array.isArray(tree) ? before : [...before, step], into);
}

function pathSetOf(tree: unknown): ReadonlySet<string> {
  const paths = new Set<string>();
  pathsOf(tree, [], paths);
  return paths;
}

function shownOf(kind: string, page: string): Set<string> {
  const shown = new Set<string>();
  for (const { fence, at } of fences.filter((each) => each.kind === kind))
    for (const [, block = ""] of page.matchAll(fence))
      for (const document of parseAllDocuments(block)) pathsOf(document.toJS(), at, shown);
  for (const [, block = ""] of page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm))
    for (const document of parseAllDocuments(block)) {
      const object: unknown = document.toJS();
      if (typeof object === "object" && object !== null && "kind" in object && object.kind === kind)
        pathsOf(object, [], shown);
      // All kinds of routes have the same.
      if (kind.endsWith("Route") && typeof object === "object" && object !== null && "spec" in object)
        for (const path of pathSetOf(object)) if (path.startsWith("spec.parentRefs")) shown.add(path);
    }
  return shown;
}

for (const [kind, page] of Object.entries(pages))
  test(`${kind}: every field that counts is in an example of docs/${page}`, () => {
    const shown = shownOf(kind, textOf(page));
    const wanted = new Set<string>();
    for (const [path, value] of Object.entries(variedKinds[kind]?.honoured ?? assert.fail(kind)))
      pathsOf(
        value,
        path.split(".").filter((step) => !/^\d+$/.test(step)),
        wanted,
      );
    assert.deepEqual(
      [...wanted].filter((path) => !shown.has(path)),
      [],
    );
  });
