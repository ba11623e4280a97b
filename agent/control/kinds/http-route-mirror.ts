// any thread · the filter RequestMirror of HTTPRoute and GRPCRoute: who gets copies of which share of the requests. Reader. Pure.
import { type FieldEdits, noEdits, type RouteMirror } from "../../mesh/http-rule.ts";
import type { SourceRef } from "../../mesh/source-ref.ts";
import { MIRROR_CREDENTIALS } from "./labels.ts";
import { nameService, reference, serviceOf } from "./route-parts.ts";
import { integer, object, optional, type Read, type Reader, required, wrongValue } from "./schema.ts";
import type { Report } from "./value.ts";

const counted = integer(0, 2_147_483_647);
const mirror = object({
  backendRef: required(object(reference)),
  percent: optional(integer(0, 100), null),
  fraction: optional(object({ numerator: required(counted), denominator: optional(counted, 100) }), null),
});
export type ReadMirror = Pick<Read<typeof mirror>, "backendRef"> & Pick<RouteMirror, "numerator" | "denominator">;

export const mirrorReader: Reader<ReadMirror> = (value, place, report) => {
  const read = mirror(value, place, report);
  if (read === undefined) return undefined;
  const { backendRef, percent, fraction } = read;
  const refuse = (what: string, fix: string): undefined =>
    wrongValue(value.from, `${place} ${what}`, "nobody says how many requests are copied", fix, report);
  if (percent !== null && fraction !== null) return refuse("has percent and fraction", "keep one of them");
  const { numerator, denominator } = fraction ?? { numerator: percent ?? 100, denominator: 100 };
  if (denominator === 0 || numerator > denominator)
    return refuse(
      `has the fraction ${numerator}/${denominator}`,
      "write a numerator that is not above the denominator",
    );
  return { backendRef, numerator, denominator };
};

/** Takes credentials out of copies: their target may be trusted less than the backend, and could act for the caller with them. */
const withoutCredentials: FieldEdits = {
  ...noEdits,
  remove: ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth-token", "x-forwarded-access-token"],
};

/** @param annotations the route's, of which one may say that copies keep credentials */
export function toMirror(
  { backendRef, numerator, denominator }: ReadMirror,
  { from, path, namespace }: { readonly from: SourceRef; readonly path: string; readonly namespace: string },
  annotations: Readonly<Record<string, string>>,
  report: Report,
): RouteMirror {
  const service = serviceOf(backendRef, namespace, (what) =>
    report.unsupported(from, `${path}: the target of a RequestMirror ${what}`, "it gets no copies", nameService),
  );
  const requestEdits = annotations[MIRROR_CREDENTIALS] === "true" ? noEdits : withoutCredentials;
  const backend = { service, port: backendRef.port, weight: 1, requestEdits, responseEdits: noEdits };
  return { backend, numerator, denominator };
}
