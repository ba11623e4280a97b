// CLI · orlop explain --impact -f mesh.yaml: which connections of the running agent those files would end, before they are in force.
import { type Impact, impactOf } from "../plan/impact.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import { meshOf } from "./explain-offline.ts";
import { type Context, contextOf } from "./options.ts";
import { CliFailure, type Column, type Exit, exits, json, table, yaml } from "./output.ts";

const columns: readonly Column<Impact>[] = [
  { header: "WORKLOAD", value: ({ workload }) => workload },
  { header: "PORT", value: ({ port }) => String(port) },
  { header: "CALLER", value: ({ caller }) => caller },
  { header: "CONNECTIONS", value: ({ connections }) => String(connections) },
  { header: "WHY", value: ({ reason }) => reason },
];

export async function impact(context: Context): Promise<Exit> {
  const { file, ...others } = context.options;
  const { output, headers } = others;
  if (file === undefined) {
    throw new CliFailure(exits.usage, {
      code: "ORL6004",
      what: "--impact needs the files that would be in force",
      why: "what is in force already ends nothing",
      fix: "orlop explain --impact -f mesh.yaml",
    });
  }
  const mesh = await meshOf(file);
  const { items, truncated = 0 } = await contextOf(others, context.env).client().view("connections");
  const { judged, ends } = impactOf(items, { mesh, ...evaluatorOf(mesh) });
  if (truncated > 0) context.env.stderr(`${truncated} more connections are open and were not judged\n`);
  const found = { judged, notJudged: truncated, ends };
  if (output === "json") context.print(json(found));
  else if (output === "yaml") context.print(yaml(found));
  else {
    const count = ends.reduce((sum, { connections }) => sum + connections, 0);
    context.print(`${count} of ${judged} open connections of this node's pods would end\n`);
    const options = { wide: true, headers, namespaces: true, paint: context.paint };
    if (ends.length > 0) context.print(table(columns, ends, options));
  }
  return exits.ok;
}
