// tests · an HTTPRoute of a file as it is read: its value, and each problem and finding with its place.
import assert from "node:assert/strict";
import type { HttpRoute, HttpRule } from "../../mesh/http-rule.ts";
import { positionText } from "../../mesh/source-ref.ts";
import { parseYaml } from "../static-file/parse.ts";
import { httpRouteKind, toHttpRoute } from "./http-route.ts";
import { Report } from "./value.ts";

export type Found = { readonly route: HttpRoute | undefined; readonly problems: string[]; readonly findings: string[] };

export function read(text: string): Found {
  const report = new Report();
  const [document] = parseYaml("f.yaml", text);
  assert.ok(document);
  const written = httpRouteKind(document, "", report);
  const route = written && toHttpRoute(written, document, report);
  const said = (all: Report["problems"]): string[] =>
    all.map(({ from, code, what }) => `${positionText(from)} ${code} ${what}`);
  return { route, problems: said(report.problems), findings: said(report.findings) };
}

export const head = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: api }]
`;
/** The rules begin in line 7, column 5. */
export const withRules = (rules: string): string => `${head}  rules:\n    - ${rules.replaceAll("\n", "\n      ")}\n`;

export function rule(text: string): HttpRule {
  const { route, problems } = read(withRules(text));
  assert.deepEqual(problems, [], text);
  const [first] = route?.rules ?? [];
  assert.ok(first);
  return first;
}
