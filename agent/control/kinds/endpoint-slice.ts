// any thread · EndpointSlice (discovery.k8s.io/v1): endpoints of a Service that has no selector. Schema and translation.
import { fullName } from "../../mesh/full-name.ts";
import type { ExplicitEndpoint } from "../../mesh/service.ts";
import { address, metadata, port } from "./fields.ts";
import { SERVICE_OF_SLICE } from "./labels.ts";
import {
  boolean,
  growingObject,
  ignored,
  integer,
  list,
  oneOf,
  optional,
  type Read,
  required,
  string,
} from "./schema.ts";
import { type Report, type Value, wrong } from "./value.ts";

export const endpointSliceKind = growingObject({
  apiVersion: required(oneOf("discovery.k8s.io/v1")),
  kind: required(oneOf("EndpointSlice")),
  metadata: required(metadata),
  addressType: required(oneOf("IPv4", "IPv6", "FQDN")),
  endpoints: optional(
    list(
      growingObject({
        addresses: required(list(string, { min: 1, max: 100 })),
        conditions: optional(
          growingObject({ ready: optional(boolean, true), serving: ignored, terminating: ignored }),
          {
            ready: true,
            serving: null,
            terminating: null,
          },
        ),
        /** Not Kubernetes': the share of new connections, for endpoints outside the mesh on a plain machine. */
        weight: optional(integer(0, 1_000_000), 1),
        hostname: ignored,
        nodeName: ignored,
        zone: ignored,
        hints: ignored,
        targetRef: ignored,
        deprecatedTopology: ignored,
      }),
      { max: 10_000 },
    ),
    [],
  ),
  ports: optional(
    list(
      growingObject({
        name: optional(string, ""),
        port: required(port),
        protocol: optional(oneOf("TCP", "UDP", "SCTP"), "TCP"),
        appProtocol: ignored,
      }),
      {
        max: 100,
      },
    ),
    [],
  ),
});
export type EndpointSlice = Read<typeof endpointSliceKind>;

/** `<namespace>/<service>`, or undefined with an error. */
export function serviceOf(slice: EndpointSlice, document: Value, report: Report): string | undefined {
  const service = slice.metadata.labels[SERVICE_OF_SLICE];
  if (service !== undefined && service !== "") return fullName({ namespace: slice.metadata.namespace, name: service });
  return wrong(
    document.from,
    `EndpointSlice ${fullName(slice.metadata)} lacks the label ${SERVICE_OF_SLICE}`,
    "nobody would know whose endpoints these are",
    "add the label with the name of the Service",
    report,
  );
}

/** Every address with the slice's TCP ports by name. Slices of names (FQDN) give none, and `report` says so. */
export function toEndpoints(slice: EndpointSlice, document: Value, report: Report): ExplicitEndpoint[] {
  if (slice.addressType === "FQDN") {
    report.unsupported(
      document.from,
      "endpoints by name (FQDN) are not honoured",
      "capture works on addresses",
      "write addresses",
    );
    return [];
  }
  const ports = Object.fromEntries(
    slice.ports.filter((port) => port.protocol === "TCP").map((port) => [port.name, port.port]),
  );
  return slice.endpoints.flatMap((endpoint) =>
    endpoint.addresses.flatMap((written) => {
      const read = address({ type: "string", value: written, from: document.from }, "endpoints.addresses", report);
      return read === undefined
        ? []
        : [{ address: read, ports, weight: endpoint.weight, healthy: endpoint.conditions.ready }];
    }),
  );
}
