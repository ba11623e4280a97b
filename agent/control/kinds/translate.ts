// any thread · documents → mesh values. All or nothing: one bad document refuses the whole. Pure; shared by file, cluster and CLI.
import { Assembly, type Upsert } from "./assembly.ts";
import type { NodeSettings } from "./node-settings.ts";
import { parsedObjectsOf } from "./parsed-object.ts";
import { type Problem, Report, type Value } from "./value.ts";

export type { Upsert } from "./assembly.ts";

export type Translation = {
  /** Every object of the mesh, workloads first. */
  readonly updates: readonly Upsert[];
  /** What is known but not honoured, with its position. */
  readonly findings: readonly Problem[];
};

/** @throws ConfigError with every problem found: those of single documents first, each in the order of the files. */
export function translate(documents: Iterable<Value>, settings: NodeSettings): Translation {
  const report = new Report();
  const come = [...documents].flatMap((document) => parsedObjectsOf(document, settings, report));
  const assembly = new Assembly(settings);
  const updates = assembly.swap({ gone: [], come }, report.problems);
  // Out of nothing nothing is removed.
  const objects = updates.filter((update) => update.op === "upsert");
  return { updates: objects, findings: [...report.findings, ...assembly.findings] };
}
