// CLI · orlop explain SRC DST:PORT: why a connection, or a request, would be allowed or denied; the agent says so, or files judged here.
import type { ExplainView, MissView } from "../admin/api.ts";
import { type AskedRequest, requestOf } from "../plan/explain-request.ts";
import type { Context } from "./options.ts";
import { CliFailure, type Exit, exits, json, printable, yaml } from "./output.ts";

export type ExplainOptions = AskedRequest & { readonly expect?: "allow" | "deny" };

export async function explain(
  context: Context,
  src: unknown,
  dst: unknown,
  { expect, ...asked }: ExplainOptions,
): Promise<Exit> {
  if (typeof src !== "string" || typeof dst !== "string")
    throw unusable("SRC and DST:PORT are needed", "without them nobody calls anybody");
  const { file, output } = context.options;
  const request = requestOf(dst, asked);
  if (request !== null && "error" in request)
    throw unusable(request.error, "it cannot be part of a request of HTTP/1.1");
  const view =
    file === undefined
      ? await context.client().explain(src, dst, asked)
      : await (await import("./explain-offline.ts")).explainOffline(file, src, dst, request);
  if (output === "json") context.print(json(view));
  else if (output === "yaml") context.print(yaml(view));
  else if (output === "name") context.print(`${printable(view.verdict)}\n`);
  else context.print(explainText(view, context.paint.word));
  if (expect === undefined || expect === view.verdict) return exits.ok;
  context.env.stderr(`orlop: expected ${expect}, and it is ${printable(view.verdict)}\n`);
  return exits.findings;
}

export function explainText(view: ExplainView, paint: (word: string) => string = (word) => word): string {
  const head = `${paint(printable(view.verdict.toUpperCase()))} at layer ${printable(view.layer)}`;
  const why = view.reason === "" ? "" : `: ${printable(view.reason)}`;
  const idWidth = Math.max(0, ...view.steps.map(({ id }) => id.length));
  const steps = view.steps.map(
    ({ id, status, summary }, index) =>
      `${String(index + 1).padStart(2)} ${printable(id).padEnd(idWidth)}  ${printable(summary)}${status === "decides" ? "   ← decides" : ""}\n`,
  );
  const rule = view.decidedBy;
  const decided = rule
    ? `   decided by ${printable(rule.kind)} ${printable(rule.namespace)}/${printable(rule.name)}${rule.rule < 0 ? "" : `[${rule.rule}]`}${rule.file === "" ? "" : ` at ${printable(rule.file)}:${rule.line}`}\n`
    : "";
  return `${head}${why}\n${printable(view.src)} → ${printable(view.dst)}\n${steps.join("")}${decided}${view.nearestMiss.map(missText).join("")}`;
}

/** Several misses are of one rule, which wanted all of them. */
function missText(miss: MissView, index: number): string {
  const at = miss.file === "" ? "" : ` (${miss.file}:${miss.line}:${miss.column})`;
  const lead = index === 0 ? "nearest miss:" : "         and:";
  return `   ${lead} ${printable(miss.policy)}[${miss.rule}] wants ${printable(miss.field)} ${printable(miss.want)}; got ${printable(miss.got)}${printable(at)}\n`;
}

function unusable(what: string, why: string): CliFailure {
  return new CliFailure(exits.usage, {
    code: "ORL6004",
    what,
    why,
    fix: "orlop explain SRC DST:PORT --method GET --path /a --host api --header x-role=admin",
  });
}
