// main, CLI · documents → mesh values. All or nothing: one bad document refuses the whole. Pure; shared by file, cluster and CLI.
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import type { ExplicitEndpoint } from "../../mesh/service.ts";
import { authorizationPolicyKind, toAuthorizationPolicy } from "./authorization-policy.ts";
import { endpointSliceKind, serviceOf, toEndpoints } from "./endpoint-slice.ts";
import { membership, namespaceKind } from "./namespace.ts";
import { peerAuthenticationKind, toPeerAuthentication } from "./peer-authentication.ts";
import type { Place } from "./place.ts";
import type { Read, Reader } from "./schema.ts";
import { serviceKind, toService } from "./service.ts";
import { type Problem, placeText, quoted, Report, type Value, wrong } from "./value.ts";
import { toWorkload, workloadKind } from "./workload.ts";

export type Upsert = Extract<MeshUpdate, { readonly op: "upsert" }>;
export type Translation = {
  /** Every object of the mesh, workloads first. */
  readonly updates: readonly Upsert[];
  /** What is known but not honoured, with its place. */
  readonly findings: readonly Problem[];
};

/** Kinds that others of the same file may be for. They are named in the findings, never skipped in silence. */
const knownElsewhere = new Set([
  "RequestAuthentication",
  "HTTPRoute",
  "GRPCRoute",
  "TLSRoute",
  "TCPRoute",
  "DestinationRule",
  "VirtualService",
  "ServiceEntry",
  "WorkloadEntry",
  "Telemetry",
]);

type Found<R> = { readonly read: R; readonly document: Value };
type Readers = {
  readonly Namespace: typeof namespaceKind;
  readonly Workload: typeof workloadKind;
  readonly Service: typeof serviceKind;
  readonly EndpointSlice: typeof endpointSliceKind;
  readonly AuthorizationPolicy: typeof authorizationPolicyKind;
  readonly PeerAuthentication: typeof peerAuthenticationKind;
};
const readers: Readers = {
  Namespace: namespaceKind,
  Workload: workloadKind,
  Service: serviceKind,
  EndpointSlice: endpointSliceKind,
  AuthorizationPolicy: authorizationPolicyKind,
  PeerAuthentication: peerAuthenticationKind,
};
type KindName = keyof Readers;
type AnyObject = Read<Readers[KindName]>;
type Objects = { readonly [K in KindName]: Found<Read<Readers[K]>>[] };

/**
 * @throws ConfigError with every problem found, in the order of the file.
 */
export function translate(documents: readonly Value[], place: Place): Translation {
  const steps = translating(documents, place);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** The same in small steps, so that a caller on a busy loop can do other work between two. Throws as `translate` does. */
export function* translating(documents: readonly Value[], place: Place): Generator<void, Translation> {
  const intake = new Intake();
  for (const document of documents) {
    for (const one of unlisted(document)) intake.take(one);
    yield;
  }
  const { objects, report } = intake;
  const updates: Upsert[] = [];
  for (const translated of [
    workloads(objects, place, report),
    services(objects, place, report),
    peerAuthentications(objects, report),
    authorizationPolicies(objects, report),
  ]) {
    for (const update of translated) {
      updates.push(update);
      yield;
    }
  }
  report.throwIfAny();
  return { updates, findings: report.findings };
}

/** Sorts documents by kind, each read by its own schema. */
class Intake {
  readonly report = new Report();
  readonly objects: Objects = {
    Namespace: [],
    Workload: [],
    Service: [],
    EndpointSlice: [],
    AuthorizationPolicy: [],
    PeerAuthentication: [],
  };
  readonly #seen = new Map<string, Value>();

  take(document: Value): void {
    const kind = kindOf(document, this.report);
    // A node's own configuration stands in the same file and was read before any of this.
    if (kind === undefined || kind === "NodeConfig") return;
    if (Object.hasOwn(readers, kind)) this.#read(kind as KindName, document);
    else if (knownElsewhere.has(kind)) {
      const why = "nothing in this agent acts on it";
      this.report.unsupported(
        document.from,
        `${kind} is not honoured yet`,
        why,
        "remove it, or accept that it has no effect",
      );
    } else {
      this.report.error({
        code: "ORL4102",
        from: document.from,
        what: `${quoted(kind)} is no kind that is read here`,
        why: "an object nobody reads would look as if it were in force",
        fix: `kinds: ${Object.keys(readers).join(", ")}, NodeConfig`,
      });
    }
  }

  #read(kind: KindName, document: Value): void {
    const reader: Reader<AnyObject> = readers[kind];
    const read = reader(document, "", this.report);
    if (read === undefined) return;
    const namespace = "namespace" in read.metadata ? read.metadata.namespace : "";
    const key = `${kind} ${namespace}/${read.metadata.name}`;
    const first = this.#seen.get(key);
    if (first) {
      const what = `${key} stands here and at ${placeText(first.from)}`;
      wrong(document.from, what, "only one of them could be in force", "keep one", this.report);
      return;
    }
    this.#seen.set(key, document);
    // The reader of this kind made it; the table cannot say so for all kinds at once.
    (this.objects[kind] as Found<AnyObject>[]).push({ read, document });
  }
}

/** `kind: List`, as `kubectl get -o yaml` prints it, is its items. */
function unlisted(document: Value): readonly Value[] {
  if (document.type !== "map") return [document];
  const kind = document.entries.get("kind")?.value;
  const items = document.entries.get("items")?.value;
  return kind?.type === "string" && kind.value === "List" && items?.type === "list" ? items.items : [document];
}

function kindOf(document: Value, report: Report): string | undefined {
  const kind = document.type === "map" ? document.entries.get("kind")?.value : undefined;
  if (kind?.type === "string") return kind.value;
  return report.error({
    code: "ORL4103",
    from: document.from,
    what: "this document has no kind",
    why: "without it nobody knows what the document is",
    fix: "write apiVersion, kind, metadata and spec, and --- between documents",
  });
}

function* workloads(objects: Objects, place: Place, report: Report): Generator<Upsert> {
  const members = new Set<string>();
  for (const { read, document } of objects.Namespace) {
    if (membership(read.metadata.labels, place.honourIstioLabels, document, report) === "in")
      members.add(read.metadata.name);
  }
  const ownerOf = new Map<string, string>();
  for (const { read, document } of objects.Workload) {
    const own = membership(read.metadata.labels, place.honourIstioLabels, document, report);
    const member = own === "in" || (own === "unset" && members.has(read.metadata.namespace));
    const value = toWorkload(read, document, member, place, report);
    for (const address of value.addresses) {
      const key = `${value.network}/${address}`;
      const other = ownerOf.get(key);
      if (other !== undefined) {
        const why = "an address names one identity; with two owners it would name either";
        wrong(
          document.from,
          `${address} belongs to Workload ${other} already`,
          why,
          "give each workload its own addresses",
          report,
        );
      }
      ownerOf.set(key, `${value.namespace}/${value.name}`);
    }
    yield { kind: "workload", op: "upsert", value };
  }
}

function* services(objects: Objects, place: Place, report: Report): Generator<Upsert> {
  const slices = new Map<string, Found<Read<typeof endpointSliceKind>>[]>();
  for (const found of objects.EndpointSlice) {
    const service = serviceOf(found.read, found.document, report);
    if (service !== undefined) slices.set(service, [...(slices.get(service) ?? []), found]);
  }
  const ownerOf = new Map<string, string>();
  for (const { read, document } of objects.Service) {
    const key = `${read.metadata.namespace}/${read.metadata.name}`;
    const own = slices.get(key) ?? [];
    slices.delete(key);
    const endpoints = own.flatMap((slice): ExplicitEndpoint[] => toEndpoints(slice.read, slice.document, report));
    const value = toService(read, document, endpoints, place, report);
    if (!value) continue;
    if (value.selector !== null && own[0]) {
      wrong(
        own[0].document.from,
        `Service ${key} has a selector and an EndpointSlice`,
        "its endpoints would follow the one or the other",
        "keep one",
        report,
      );
    }
    for (const vip of value.vips) {
      const other = ownerOf.get(vip);
      if (other !== undefined) {
        wrong(
          document.from,
          `${vip} is the address of Service ${other} already`,
          "a connection could go to either",
          "give each Service its own",
          report,
        );
      }
      ownerOf.set(vip, key);
    }
    yield { kind: "service", op: "upsert", value };
  }
  for (const [key, [orphan]] of slices) {
    if (orphan)
      report.unsupported(
        orphan.document.from,
        `there is no Service ${key}`,
        "nobody asks for these endpoints",
        "add the Service",
      );
  }
}

function* peerAuthentications(objects: Objects, report: Report): Generator<Upsert> {
  for (const { read, document } of objects.PeerAuthentication) {
    const value = toPeerAuthentication(read, document, report);
    if (value) yield { kind: "peer-authentication", op: "upsert", value };
  }
}

function* authorizationPolicies(objects: Objects, report: Report): Generator<Upsert> {
  const selectors = new Map(
    objects.Service.map(({ read }) => [
      `${read.metadata.namespace}/${read.metadata.name}`,
      read.spec.selector ?? undefined,
    ]),
  );
  for (const { read, document } of objects.AuthorizationPolicy) {
    const value = toAuthorizationPolicy(
      read,
      document,
      (namespace, name) => selectors.get(`${namespace}/${name}`),
      report,
    );
    if (value) yield { kind: "authorization-policy", op: "upsert", value };
  }
}
