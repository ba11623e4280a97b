// main thread · DestinationRules that do nothing, as `orlop check` says it: about a Service to which no route leads, so that nobody reads requests
// to it at the caller's node. A route may come later, so nothing is refused for it. Pure.
import { fullName } from "../mesh/full-name.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import { lineText } from "../mesh/source-ref.ts";
import type { Finding } from "./api.ts";

const CODE = "ORL4115";
/** So many are named; the rest is counted. */
const NAMED = 20;

export function trafficFindings(mesh: Pick<Snapshot, "services" | "httpRoutes">): readonly Finding[] {
  // A cap on connections holds for those that nobody reads as well.
  const ruled = [...mesh.services()].filter(
    ({ traffic }) => traffic !== undefined && traffic.maxConnections === undefined,
  );
  if (ruled.length === 0) return [];
  const routed = new Set(
    [...mesh.httpRoutes()].flatMap(({ rules }) =>
      rules.flatMap(({ backends }) => backends.map(({ service }) => service)),
    ),
  );
  const idle = ruled.filter((service) => !routed.has(fullName(service)));
  const named = idle.slice(0, NAMED).map((service) => {
    const line = service.traffic === undefined ? "" : lineText(service.traffic.from);
    return finding(
      `${line === "" ? "" : `${line}: `}no route leads to Service ${fullName(service)} of a DestinationRule`,
    );
  });
  const rest = idle.length - named.length;
  return rest > 0 ? [...named, finding(`no route leads to ${rest} more Services of DestinationRules`)] : named;
}

const finding = (what: string): Finding => ({
  ...{ code: CODE, status: "warn", what, why: "what it says of requests holds for none: nobody reads them" },
  fix: "add an HTTPRoute or a GRPCRoute with the Service among its backendRefs",
});
