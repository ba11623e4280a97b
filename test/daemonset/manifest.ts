// tests · daemonset/manifest.yaml, control.yaml and cni.yaml as values, and what the tests ask of it.
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";

export type Mount = { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean };
type Capabilities = { readonly add?: readonly string[]; readonly drop?: readonly string[] };
export type Container = {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string }[];
  readonly volumeMounts: readonly Mount[];
  readonly securityContext: Readonly<Record<string, unknown>> & { readonly capabilities: Capabilities };
  readonly readinessProbe?: { readonly httpGet: { readonly path: string; readonly port: number } };
};
export type PodSpec = Readonly<Record<string, unknown>> & {
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes: readonly (Readonly<Record<string, unknown>> & { readonly name: string })[];
};
export type KubernetesObject = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template: { readonly spec: PodSpec } };
};

const textOf = (file: string): string => readFileSync(new URL(`../../daemonset/${file}`, import.meta.url), "utf8");

/** @throws when a document has any error or warning. */
export function documents(): readonly KubernetesObject[] {
  const texts = ["manifest.yaml", "control.yaml", "cni.yaml"].map(textOf);
  return texts
    .flatMap((text) => [...parseAllDocuments(text)])
    .map((document) => {
      const [problem] = [...document.errors, ...document.warnings];
      if (problem !== undefined) throw problem;
      return document.toJS() as KubernetesObject;
    });
}

export function object(kind: string, name: string): KubernetesObject {
  const found = documents().find((document) => document.kind === kind && document.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name} in the manifest`);
  return found;
}

type Rule = Readonly<Record<"apiGroups" | "resources" | "verbs", readonly string[]>> & {
  readonly resourceNames?: readonly string[];
};

/** What a role of the manifest allows, as `group/resource verbs`, with the names that it is limited to. */
export function allowedTo(kind: "ClusterRole" | "Role", role: string): readonly string[] {
  const found = object(kind, role) as KubernetesObject & { readonly rules?: readonly Rule[] };
  return (found.rules ?? []).flatMap(({ apiGroups, resources, verbs, resourceNames }) => {
    const of = resourceNames === undefined ? "" : ` of ${resourceNames.join(" ")}`;
    return apiGroups.flatMap((group) => resources.map((resource) => `${group}/${resource} ${verbs.join(" ")}${of}`));
  });
}

type Program = "keeper" | "agent" | "control" | "cni";

export function podOf(program: Program): PodSpec {
  const pod = object(program === "control" ? "Deployment" : "DaemonSet", `orlop-${program}`).spec?.template.spec;
  if (pod === undefined) throw new Error(`orlop-${program} has no pod`);
  return pod;
}

export function container(program: Program): Container & { readonly capabilities: readonly string[] } {
  const found = podOf(program).containers.find(({ name }) => name === program);
  if (found === undefined) throw new Error(`no container ${program}`);
  return { ...found, capabilities: found.securityContext.capabilities.add ?? [] };
}
