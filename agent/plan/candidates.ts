// 8 · any thread · who answers for a Service's port: each endpoint's address and target port. Pure.
import { isIpv6 } from "../mesh/ip.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { ServiceEndpoint, Snapshot } from "../mesh/snapshot.ts";
import type { Candidate } from "./endpoints.ts";

type EndpointMesh = Pick<Snapshot, "version" | "endpointsOf">;

/** The candidates of a port in a version of the mesh, by family. null: nobody has asked for addresses of that family. */
type KnownCandidates = {
  readonly mesh: EndpointMesh;
  readonly version: number;
  readonly service: Service;
  ipv4: readonly Candidate[] | null;
  ipv6: readonly Candidate[] | null;
};

const known = new WeakMap<ServicePort, KnownCandidates>();

/** As `candidatesOf`, but made once for each version of the mesh, since each request asks. The same objects until the mesh changes. */
export function candidatesIn(
  mesh: EndpointMesh,
  service: Service,
  port: ServicePort,
  dialled: string,
): readonly Candidate[] {
  const { version } = mesh;
  let kept = known.get(port);
  if (kept === undefined || kept.mesh !== mesh || kept.version !== version || kept.service !== service) {
    kept = { mesh, version, service, ipv4: null, ipv6: null };
    known.set(port, kept);
  }
  if (isIpv6(dialled)) {
    kept.ipv6 ??= candidatesOf(mesh.endpointsOf(service), port, dialled);
    return kept.ipv6;
  }
  kept.ipv4 ??= candidatesOf(mesh.endpointsOf(service), port, dialled);
  return kept.ipv4;
}

/**
 * Candidates for `port`. `dialled` is the service's address that the client dialled: an IPv4 address leads to IPv4 addresses alone
 * and IPv6 to IPv6, as with kube-proxy, so that a client that tries both families gets past a dead family.
 */
export function candidatesOf(
  endpoints: readonly ServiceEndpoint[],
  port: ServicePort,
  dialled: string,
): readonly Candidate[] {
  const list: Candidate[] = [];
  const wantsIpv6 = isIpv6(dialled);
  for (const endpoint of endpoints) {
    const { workload, addresses, weight, healthy } = endpoint;
    const target = targetPortOf(endpoint, port);
    const address = addresses.find((each) => isIpv6(each) === wantsIpv6);
    // An endpoint without such a named port, or without an address of the family, does not expose the service.
    if (target === undefined || address === undefined) continue;
    list.push({ workload, address, port: target, weight, healthy });
  }
  return list;
}

/**
 * The endpoint's own port map, then the service's target port, which may be a name of the workload's
 * (docs/reference/hbone.md#endpoints-of-a-service).
 */
function targetPortOf({ workload, ports }: ServiceEndpoint, port: ServicePort): number | undefined {
  const own = ports[port.name] ?? ports[String(port.port)];
  if (own !== undefined) return own;
  return typeof port.targetPort === "number" ? port.targetPort : workload?.ports[port.targetPort];
}
