// any thread · Service (v1): virtual addresses, ports, selector, traffic distribution. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { LoadBalancing, Service, ServicePort } from "../../mesh/service.ts";
import { requestBalancings } from "../../mesh/traffic-policy.ts";
import { address, labels, metadata, port, portName } from "./fields.ts";
import { BALANCE, FAIL_DIRECT, TRAFFIC_DISTRIBUTION } from "./labels.ts";
import type { NodeSettings } from "./node-settings.ts";
import {
  anything,
  boolean,
  growingObject,
  ignored,
  list,
  oneOf,
  optional,
  type Read,
  type Reader,
  required,
  string,
  unsupported,
} from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

const targetPort: Reader<number | string> = (value, path, report) =>
  value.type === "string" ? portName(value, path, report) : port(value, path, report);
const clusterIp: Reader<string> = (value, path, report) =>
  value.type === "string" && (value.value === "None" || value.value === "")
    ? value.value
    : address(value, path, report);

const distributions = ["", "PreferClose", "PreferSameZone", "PreferSameNode"] as const;
const noSource = "the mesh keeps the client's own address, and chooses per connection";

export const serviceKind = growingObject({
  apiVersion: required(oneOf("v1")),
  kind: required(oneOf("Service")),
  metadata: required(metadata),
  spec: required(
    growingObject({
      type: optional(oneOf("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"), "ClusterIP"),
      clusterIP: optional(clusterIp, ""),
      clusterIPs: optional(list(clusterIp, { max: 16 }), []),
      ports: optional(
        list(
          growingObject({
            name: optional(portName, ""),
            port: required(port),
            protocol: optional(oneOf("TCP", "UDP", "SCTP"), "TCP"),
            targetPort: optional<number | string | null>(targetPort, null),
            appProtocol: optional(string, ""),
            nodePort: ignored,
          }),
          { max: 1_000 },
        ),
        [],
      ),
      selector: optional<Readonly<Record<string, string>> | null>(labels, null),
      internalTrafficPolicy: optional(oneOf("Cluster", "Local"), "Cluster"),
      trafficDistribution: optional(oneOf(...distributions), ""),
      publishNotReadyAddresses: optional(boolean, false),
      sessionAffinity: optional(oneOf("None", "ClientIP"), "None"),
      sessionAffinityConfig: unsupported(anything, noSource),
      externalIPs: unsupported(anything, "calls to external addresses of a Service go the way the cluster sends them"),
      externalName: ignored,
      // What follows concerns traffic that enters the cluster from outside, which is not the mesh's.
      allocateLoadBalancerNodePorts: ignored,
      externalTrafficPolicy: ignored,
      healthCheckNodePort: ignored,
      ipFamilies: ignored,
      ipFamilyPolicy: ignored,
      loadBalancerClass: ignored,
      loadBalancerIP: ignored,
      loadBalancerSourceRanges: ignored,
    }),
  ),
  status: ignored,
});
export type ServiceDocument = Read<typeof serviceKind>;

/** Without its EndpointSlices. undefined: nothing for the mesh in it (reported), or an error (reported). */
export function toService(
  read: ServiceDocument,
  document: Value,
  settings: NodeSettings,
  report: Report,
): Service | undefined {
  const { metadata: meta, spec } = read;
  const name = `Service ${fullName(meta)}`;
  const skip = (what: string, why: string): undefined =>
    void report.unsupported(document.from, what, why, "nothing, if that is meant");
  if (spec.type === "ExternalName")
    return skip(`${name} is an ExternalName`, "names are resolved by the cluster's DNS, not by the mesh");
  if (spec.sessionAffinity === "ClientIP") skip(`${name}: sessionAffinity ClientIP is not honoured`, noSource);
  const ports: ServicePort[] = [];
  for (const written of spec.ports) {
    if (written.protocol !== "TCP")
      skip(`${name}: port ${written.port}/${written.protocol} is not meshed`, "only TCP is");
    else
      ports.push({
        name: written.name,
        port: written.port,
        targetPort: written.targetPort ?? written.port,
        appProtocol: written.appProtocol,
      });
  }
  const twice = ports.find(
    (port, index) =>
      ports.findIndex((other) => other.port === port.port || (port.name !== "" && other.name === port.name)) !== index,
  );
  if (twice)
    return wrong(
      document.from,
      `${name} has port ${twice.port} or its name twice`,
      "a connection could go to either",
      "keep one",
      report,
    );
  return {
    name: meta.name,
    namespace: meta.namespace,
    hostname: `${meta.name}.${meta.namespace}.svc.${settings.clusterDomain}`,
    vips: virtualAddresses(spec),
    ports,
    selector: spec.selector !== null && Object.keys(spec.selector).length > 0 ? spec.selector : null,
    endpoints: [],
    subjectAltNames: [],
    loadBalancing: { ...loadBalancing(read), ...requestBalancing(meta.annotations, skip) },
    ...withoutAgent(meta.annotations, skip),
    from: document.from,
  };
}

/** Of a value that is not known nothing counts: requests are balanced as without it. */
function requestBalancing(
  annotations: ServiceDocument["metadata"]["annotations"],
  skip: (what: string, why: string) => undefined,
): Pick<LoadBalancing, "requests"> {
  const written = annotations[BALANCE];
  if (written === undefined) return {};
  const known = requestBalancings.find((each) => each === written);
  if (known !== undefined) return { requests: known };
  skip(`${BALANCE}: ${JSON.stringify(written)} is none of ${requestBalancings.join(", ")}`, "cost is what holds");
  return {};
}

/** Anything but the word "true" leaves the ports refusing. */
function withoutAgent(
  annotations: ServiceDocument["metadata"]["annotations"],
  skip: (what: string, why: string) => undefined,
): Pick<Service, "failsDirect"> {
  const written = annotations[FAIL_DIRECT];
  if (written === "true") return { failsDirect: true };
  if (written !== undefined && written !== "false")
    skip(`${FAIL_DIRECT}: ${JSON.stringify(written)} is neither "true" nor "false"`, "ports with routes refuse");
  return {};
}

function virtualAddresses(spec: ServiceDocument["spec"]): string[] {
  const all = [spec.clusterIP, ...spec.clusterIPs].filter((ip) => ip !== "" && ip !== "None");
  return [...new Set(all)];
}

/** Istiod's mapping (docs/reference/hbone.md#endpoints-of-a-service); a value of its own for each service, shared with no other. */
function loadBalancing({ metadata: meta, spec }: ServiceDocument): LoadBalancing {
  const health = spec.publishNotReadyAddresses ? "allow-all" : "only-healthy";
  if (spec.internalTrafficPolicy === "Local") return { preference: ["node"], mode: "strict", health };
  const distribution =
    spec.trafficDistribution === "" ? (meta.annotations[TRAFFIC_DISTRIBUTION] ?? "") : spec.trafficDistribution;
  switch (distribution) {
    case "PreferClose":
    case "PreferSameZone":
      return { preference: ["network", "region", "zone"], mode: "failover", health };
    case "PreferSameNode":
      return { preference: ["network", "region", "zone", "subzone", "node"], mode: "failover", health };
    default:
      return { preference: [], mode: "unspecified", health };
  }
}
