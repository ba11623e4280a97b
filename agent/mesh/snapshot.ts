// any thread · what readers get: the believed mesh of this thread, by every key they ask with. Read only.
import type { HttpRoute } from "./http-rule.ts";
import type { LimitPolicy } from "./limit-policy.ts";
import type { AuthorizationPolicy, PeerAuthentication } from "./policies.ts";
import type { Service } from "./service.ts";
import type { StreamRoute } from "./stream-route.ts";
import type { Workload } from "./workload.ts";
import type { AddressConflict } from "./workload-index.ts";

/** An endpoint of a Service: a workload its selector chose, or an endpoint it names. */
export type ServiceEndpoint = {
  /** null: an explicit endpoint whose address belongs to nobody of the mesh. */
  readonly workload: Workload | null;
  /** Canonical text; of a workload all its addresses, of an explicit endpoint the one it names. */
  readonly addresses: readonly string[];
  /** Target ports an explicit endpoint fixes, by service port name or number as text; empty: the service's targetPort. */
  readonly ports: Readonly<Record<string, number>>;
  readonly weight: number;
  readonly healthy: boolean;
};

/**
 * The mesh as the store of this thread believes it now. It is a live view, not a copy: what it returns is consistent
 * until control goes back to the event loop; a reader that keeps something across turns compares `version`. Lists and values
 * are never changed in place except where said.
 */
export type Snapshot = {
  /** Rises with every applied change. */
  readonly version: number;
  /** Rises only when an AuthorizationPolicy, a PeerAuthentication or a LimitPolicy changed; verdict caches are keyed by it. */
  readonly policyVersion: number;
  /** Rises only when a route changed; lists of rules are keyed by it. */
  readonly routesVersion: number;
  readonly rootNamespace: string;
  readonly trustDomain: string;

  workload(uid: string): Workload | undefined;
  /**
   * By canonical address. undefined: nobody has it, or several claim it (`rivalsAt`). Of different networks that use one address:
   * pod and HBONE, then pod, then HBONE, then the lower uid (docs/reference/hbone.md#names-and-addresses-of-workloads).
   */
  workloadAt(address: string): Workload | undefined;
  /**
   * The workloads that claim one address of one network: nobody can tell which of them has it, so connections to it are refused.
   * Empty: the address has an owner, or nobody knows it.
   */
  rivalsAt(address: string): readonly Workload[];
  /** False: no address has rivals, and nobody need ask. */
  readonly hasRivals: boolean;
  /** Every address that has rivals, with them; in no order. */
  addressConflicts(): Iterable<AddressConflict>;
  /** Whose `node` it is, in no order. */
  workloadsOnNode(node: string): Iterable<Workload>;
  /** In no order. */
  workloadsIn(namespace: string): Iterable<Workload>;

  /** By `<namespace>/<name>`. */
  service(key: string): Service | undefined;
  /** By virtual address. When several claim it: the Service in `clientNamespace`, then the lower key. */
  serviceAt(address: string, clientNamespace?: string): Service | undefined;
  /** By host name, exact and lower case. When several claim it: the lower key. */
  serviceNamed(hostname: string): Service | undefined;
  /** In no order. The list is changed in place by the next `apply`: do not keep it. */
  endpointsOf(service: Service): readonly ServiceEndpoint[];
  /** For whom the workload answers, chosen or named, in no order; one may stand twice. */
  servicesOf(workload: Workload): readonly Service[];

  /** All that select the workload: of its own and of the root namespace, ordered by `<namespace>/<name>`. */
  authorizationPoliciesFor(workload: Workload): readonly AuthorizationPolicy[];
  /** All that bear on the workload: mesh, namespace and workload level, ordered by `<namespace>/<name>`. */
  peerAuthenticationsFor(workload: Workload): readonly PeerAuthentication[];

  /** As `authorizationPoliciesFor`. */
  limitPoliciesFor(workload: Workload): readonly LimitPolicy[];

  /** That name the Service, `<namespace>/<name>`, as a parent; of any namespace, for any port, in no order. */
  httpRoutesAbout(service: string): readonly HttpRoute[];
  tlsRoutesAbout(service: string): readonly StreamRoute[];
  tcpRoutesAbout(service: string): readonly StreamRoute[];

  workloads(): Iterable<Workload>;
  services(): Iterable<Service>;
  authorizationPolicies(): Iterable<AuthorizationPolicy>;
  peerAuthentications(): Iterable<PeerAuthentication>;
  httpRoutes(): Iterable<HttpRoute>;
  tlsRoutes(): Iterable<StreamRoute>;
  tcpRoutes(): Iterable<StreamRoute>;
  limitPolicies(): Iterable<LimitPolicy>;
};
