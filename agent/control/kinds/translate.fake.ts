// tests · documents as they are translated: the value of a kind, findings and refusals with their places, and a good document of each kind.
import assert from "node:assert/strict";
import type { AuthorizationPolicy, PeerAuthentication } from "../../mesh/policies.ts";
import type { Service } from "../../mesh/service.ts";
import { positionText } from "../../mesh/source-ref.ts";
import type { Workload } from "../../mesh/workload.ts";
import { parseYaml } from "../static-file/parse.ts";
import type { NodeSettings } from "./node-settings.ts";
import { type Translation, translate, type Upsert } from "./translate.ts";
import { ConfigError } from "./value.ts";

export const settings: NodeSettings = {
  node: "west",
  cluster: "c1",
  network: "net1",
  trustDomain: "td.example",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: [],
};

export const read = (text: string, at: NodeSettings = settings): Translation =>
  translate(parseYaml("f.yaml", text), at);

type ValueOf<K extends Upsert["kind"]> = Extract<Upsert, { readonly kind: K }>["value"];
export function values<K extends Upsert["kind"]>(translation: Translation, kind: K): ValueOf<K>[] {
  return translation.updates.filter((one) => one.kind === kind).map((one) => one.value as ValueOf<K>);
}
export function only<T>(all: readonly T[]): T {
  const [first] = all;
  assert.ok(first !== undefined && all.length === 1, `${all.length} instead of one`);
  return first;
}
export const workload = (text: string, at?: NodeSettings): Workload => only(values(read(text, at), "workload"));
export const service = (text: string): Service => only(values(read(text), "service"));
export const policy = (text: string): AuthorizationPolicy => only(values(read(text), "authorization-policy"));
export const peers = (text: string): PeerAuthentication => only(values(read(text), "peer-authentication"));
export const findings = (text: string): string[] =>
  read(text).findings.map((one) => `${positionText(one.from)} ${one.code} ${one.what}`);

export function refusals(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems.map((one) => `${positionText(one.from)} ${one.code} ${one.what}`);
  }
  return [];
}

export const WORKLOAD = `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, uid: u1, labels: {app: web}}
spec:
  addresses: [10.0.0.1]
  node: west
`;
export const SHOP =
  "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {orlop.dev/dataplane-mode: ambient}}\n";
export const SERVICE = `apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  selector: {app: api}
  ports:
    - {name: http, port: 80, targetPort: 8080}
`;
export const POLICY = (spec: string): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec:${spec}\n`;
export const PEERS = (spec: string): string =>
  `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: shop}\nspec:${spec}\n`;
export const RULE = (source: string): string => POLICY(`\n  rules:\n    - from:\n        - source: ${source}`);
