// any thread · a DestinationRule's annotation orlop.dev/success-rate: endpoints that are served worse than the others. Reader. Pure.
import type { SourceRef } from "../../mesh/source-ref.ts";
import type { SuccessRate } from "../../mesh/traffic-policy.ts";
import { jsonValue } from "./json-value.ts";
import { SUCCESS_RATE } from "./labels.ts";
import { integer, object, optional, type Reader, wrongValue } from "./schema.ts";
import { type Report, wrong } from "./value.ts";

const placeOf = `metadata.annotations[${SUCCESS_RATE}]`;

const factor: Reader<number> = (value, path, report) => {
  if (value.type === "number" && value.value >= 0 && value.value <= 100) return value.value;
  const what = `${path} is no factor from 0 to 100`;
  return wrongValue(value.from, what, "it says how far below the mean", "write a number from 0 to 100", report);
};

/** With Envoy's defaults. */
const written = object({
  minimumHosts: optional(integer(1, 1_000), 5),
  requestVolume: optional(integer(1, 100_000), 100),
  stdevFactor: optional(factor, 1.9),
});

/** @returns null: there is none. undefined: a mistake, which is reported. */
export function successRateOf(
  annotations: Readonly<Record<string, string>>,
  intervalMs: number,
  from: SourceRef,
  report: Report,
): SuccessRate | null | undefined {
  const found = annotations[SUCCESS_RATE];
  if (found === undefined) return null;
  let json: unknown;
  try {
    json = JSON.parse(found);
  } catch {
    const why = "nobody can say which endpoints are to be left out";
    return wrong(from, `${placeOf} is no JSON`, why, "write an object of JSON, {} for the defaults", report);
  }
  const read = written(jsonValue(json, from), placeOf, report);
  return read === undefined ? undefined : { intervalMs, ...read };
}
