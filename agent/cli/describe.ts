// CLI · orlop describe pod/NAME|svc/NAME|policy/NAME: one thing, with what bears on it.
import type { PolicyView, PortNeedView, ServiceView, WorkloadView } from "../admin/api.ts";
import { fullName } from "../mesh/full-name.ts";
import { connectionColumns, pairs } from "./columns.ts";
import { resourceNamed } from "./get.ts";
import type { Context } from "./options.ts";
import { CliFailure, type Exit, exits, json, printable, table, yaml } from "./output.ts";

export async function describe(context: Context, target: string): Promise<Exit> {
  const slash = target.indexOf("/");
  const resource = slash > 0 ? resourceNamed(target.slice(0, slash)) : undefined;
  const name = target.slice(slash + 1);
  switch (resource) {
    case "workloads":
      return describeWorkload(context, name);
    case "services":
      return describeService(context, name);
    case "policies":
      return describePolicy(context, name);
    default:
      throw new CliFailure(exits.usage, {
        code: "ORL6004",
        what: `cannot describe ${target}`,
        why: "it is not pod/NAME, svc/NAME or policy/NAME",
        fix: "orlop describe pod/web -n shop",
      });
  }
}

async function describeWorkload(context: Context, name: string): Promise<Exit> {
  const client = context.client();
  const pod = find(context, "pod", name, (await client.view("workloads")).items);
  const policies = (await client.view("policies")).items.filter((policy) => bearsOn(policy, pod));
  const cert = (await client.view("certs")).items.find(({ identity }) => identity === pod.identity);
  const services = (await client.view("services")).items.filter(
    ({ namespace, endpoints }) =>
      namespace === pod.namespace && endpoints.some(({ workload }) => workload === pod.name),
  );
  const { items } = await client.view("connections");
  const connections = items.filter((each) => each.namespace === pod.namespace && each.pod === pod.name);
  if (
    asData(context, {
      ...pod,
      policies,
      cert: cert ?? null,
      services: services.map((service) => service.name),
      connections,
    })
  )
    return exits.ok;
  lines(context, [
    ["Name", fullName(pod)],
    ["Captured", pod.captureNote === "" ? pod.capture : `${pod.capture}: ${pod.captureNote}`],
    ["Identity", pod.identity],
    ["Mode", pod.mode],
    ["Protocol", pod.protocol],
    ["Addresses", pod.addresses.join(", ")],
    ["Node", pod.node],
    ["Labels", pairs(pod.labels)],
    ["Services", services.map((service) => service.name).join(", ")],
    ["Certificate", cert ? `${cert.state}, ends ${cert.notAfter || "-"}` : "none here"],
    ["Policies in", policies.map((policy) => `${policy.action} ${fullName(policy)}`).join(", ")],
    ["HTTP", httpText(pod.http ?? [])],
    ["From", pod.from],
  ]);
  const options = { wide: false, headers: true, namespaces: false, paint: context.paint };
  if (namesRequests(pod.http ?? [])) {
    context.print("\n");
    context.print(table(portColumns, pod.http ?? [], options));
  }
  if (connections.length > 0) {
    context.print("\n");
    context.print(table(connectionColumns(context.env.now()), connections, options));
  }
  return exits.ok;
}

const portColumns = [
  { header: "PORT", value: ({ port }: PortNeedView) => (port === null ? "others" : String(port)) },
  { header: "TO BE READ", value: ({ read }: PortNeedView) => (read ? "yes" : "no") },
  { header: "BECAUSE", value: ({ reasons }: PortNeedView) => reasons.join(", ") },
  { header: "DECLARED", value: ({ declared }: PortNeedView) => declared.join(", ") },
];

/** Whether any rule about the pod names what only a request shows. */
function namesRequests(ports: readonly PortNeedView[]): boolean {
  return ports.some(({ reasons }) => reasons.some((reason) => reason !== "no-request-rule"));
}

/** Empty: another node's pod, of which its own agent knows. */
function httpText(ports: readonly PortNeedView[]): string {
  if (ports.length === 0) return "";
  if (!namesRequests(ports)) return "no rule is about requests";
  return "rules are about requests: on the ports below HTTP/1.1 is read, and each request is judged";
}

async function describeService(context: Context, name: string): Promise<Exit> {
  const service = find(context, "service", name, (await context.client().view("services")).items);
  if (asData(context, service)) return exits.ok;
  lines(context, [
    ["Name", fullName(service)],
    ["Hostname", service.hostname],
    ["VIPs", service.vips.join(", ")],
    ["Ports", service.ports.map((port) => `${port.name || "-"} ${port.port}→${port.targetPort}`).join(", ")],
    ["Traffic", service.traffic ? `${service.traffic.texts.join("; ")} (${service.traffic.from})` : ""],
    ["Limits", service.limits?.join(", ") ?? ""],
    ["From", service.from],
  ]);
  const columns = [
    { header: "ENDPOINT", value: (at: ServiceView["endpoints"][number]) => at.address },
    { header: "WORKLOAD", value: (at: ServiceView["endpoints"][number]) => at.workload },
    { header: "HEALTHY", value: (at: ServiceView["endpoints"][number]) => (at.healthy ? "yes" : "no") },
  ];
  context.print("\n");
  context.print(
    table(columns, service.endpoints, { wide: false, headers: true, namespaces: false, paint: context.paint }),
  );
  return exits.ok;
}

async function describePolicy(context: Context, name: string): Promise<Exit> {
  const client = context.client();
  const policy = find(context, "policy", name, (await client.view("policies")).items);
  const workloads = (await client.view("workloads")).items.filter((workload) => bearsOn(policy, workload));
  if (asData(context, { ...policy, workloads: workloads.map(fullName) })) return exits.ok;
  lines(context, [
    ["Name", fullName(policy)],
    ["Kind", policy.kind],
    ["Action", policy.action],
    ["Scope", policy.scope],
    ["Mode", policy.enforcement],
    ["Rules", policy.kind === "AuthorizationPolicy" ? String(policy.rules) : "-"],
    ["Selects", workloads.map(fullName).join(", ")],
    ["From", policy.from],
  ]);
  return exits.ok;
}

/** The item of this name. Throws when there is none, or several and no -n. */
const none: Readonly<Record<string, string>> = {
  pod: "the agent knows none of this name here: a pod that has finished, or has no address yet on another node, is nothing to a mesh",
};

function find<Item extends { readonly name: string; readonly namespace: string }>(
  context: Context,
  word: string,
  name: string,
  items: readonly Item[],
): Item {
  const { namespace } = context.options;
  const found = items.filter((item) => item.name === name && (namespace === undefined || item.namespace === namespace));
  const [first, second] = found;
  if (first && !second) return first;
  throw new CliFailure(exits.failed, {
    code: "ORL6004",
    what: first ? `${word} ${name} exists more than once` : `no ${word} ${name}`,
    why: first
      ? `in ${found.map((each) => each.namespace).join(", ")}`
      : (none[word] ?? "the agent knows none of this name here"),
    fix: first
      ? "say which with -n NAMESPACE"
      : `see what there is: orlop get ${word === "pod" ? "workloads" : word === "service" ? "services" : "policies"}`,
  });
}

function bearsOn(policy: PolicyView, workload: WorkloadView): boolean {
  if (policy.scope === "mesh") return true;
  if (policy.scope === "namespace") return policy.namespace === workload.namespace;
  const wanted = policy.scope.split(",").map((pair) => pair.split("=", 2));
  const selected = wanted.every(([key = "", value = ""]) => workload.labels[key] === value);
  return selected && policy.namespace === workload.namespace;
}

/** True when the format asked for is data, and then it is printed. */
function asData(context: Context, value: unknown): boolean {
  if (context.options.output === "json") context.print(json(value));
  else if (context.options.output === "yaml") context.print(yaml(value));
  else return false;
  return true;
}

function lines(context: Context, pairsOf: readonly (readonly [string, string])[]): void {
  const width = Math.max(...pairsOf.map(([key]) => key.length)) + 2;
  for (const [key, value] of pairsOf) {
    context.print(`${key.padEnd(width)}${context.paint.word(printable(value) || "-")}\n`);
  }
}
